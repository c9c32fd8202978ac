"""Training: from a config and two data sets to a run directory with the trained model."""

import functools
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.builders import (
    build_model,
    count_epochs,
    make_anchor_recall,
    make_batches,
    make_loss,
    make_optimizer,
    make_plan,
    planned_files,
)
from keras_retinanet.callbacks import SaveCheckpoints, StopOnNaN
from keras_retinanet.config import (
    Config,
    dump_config,
)
from keras_retinanet.data.dataset import DetectionDataset, write_findings
from keras_retinanet.data.wait_time import WaitTime
from keras_retinanet.errors import ConfigError
from keras_retinanet.memory_errors import memory_errors
from keras_retinanet.model_files import save_for_inference
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.watching import make_watchers

# Below this share of objects with an anchor, training says how to fit the anchors to the data.
LOW_ANCHOR_RECALL = 0.95


def train(
    config: Config,
    train_set: DetectionDataset,
    val_set: DetectionDataset | None,
    output: Path,
    *,
    progress: bool = True,
) -> RetinaNet:
    """Train a RetinaNet and return it; everything about the run is written into `output`.

    config.yaml, environment.json, data_findings.json, anchor_recall.json, metrics.csv,
    tensorboard/, checkpoints/, best.keras (by AP on `val_set`) and last.keras.

    Args:
        output: an empty or new folder.
        progress: a progress bar for each epoch; otherwise a line.

    Raises:
        ConfigError: the batch cannot be split over the devices.
        TrainingDiverged: the loss became NaN.
    """
    keras.utils.set_random_seed(config.training.seed)
    strategy = make_strategy()
    if config.training.batch_size % strategy.num_replicas_in_sync:
        raise ConfigError(
            f"training.batch_size = {config.training.batch_size} must be a multiple of the "
            f"{strategy.num_replicas_in_sync} devices"
        )
    plan = make_plan(config, train_set)
    num_epochs = count_epochs(config.schedule, plan.steps_per_epoch)
    with strategy.scope():
        model = build_model(config, train_set.class_names)
        model.compile(
            optimizer=make_optimizer(config, plan.steps_per_epoch), loss=make_loss(config)
        )
    if val_set is not None:
        val_set = val_set.with_classes(model.class_names)

    checkpoints = output / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    (output / "config.yaml").write_text(dump_config(config))
    (output / "environment.json").write_text(json.dumps(describe_environment(), indent=1))
    findings = train_set.findings + (val_set.findings if val_set else [])
    write_findings(findings, output / "data_findings.json")
    report_anchor_recall(config, train_set, output)

    batches = make_batches(config, train_set, plan)
    wait = None
    if strategy.num_replicas_in_sync == 1:
        wait = WaitTime()
        batches = wait.measured(batches)
    callbacks: list[keras.callbacks.Callback] = [
        StopOnNaN(
            lambda epoch, step: planned_files(config, train_set, plan, epoch, step),
            checkpoints,
        ),
    ]
    if config.optimizer.ema:
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    callbacks += make_watchers(
        config,
        val_set=val_set,
        output=output,
        num_epochs=num_epochs,
        steps_per_epoch=plan.steps_per_epoch,
        is_live=progress,
        wait=wait,
    )
    callbacks.append(SaveCheckpoints(checkpoints, keep=config.training.keep_checkpoints))
    with memory_errors(config):
        model.fit(
            batches,
            epochs=num_epochs,
            steps_per_epoch=plan.steps_per_epoch,
            callbacks=callbacks,
            shuffle=False,  # the batches come in the plan's order
            verbose=0,
        )
    save_for_inference(model, output / "last.keras")
    if not (output / "best.keras").exists():  # nothing to measure AP on
        save_for_inference(model, output / "best.keras")
    return model


def make_strategy() -> tf.distribute.Strategy:
    """Return MirroredStrategy over the accelerators there are; with one device, no strategy."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return _mirrored(tuple(device.name for device in devices))
    return tf.distribute.get_strategy()


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    # One for the process: the collectives of a second one on the same devices clash with its own.
    return tf.distribute.MirroredStrategy(list(devices))


def report_anchor_recall(config: Config, dataset: DetectionDataset, output: Path) -> None:
    """Write anchor_recall.json; a low recall is a line on stderr, with the command that helps.

    `output` holds the run's config.yaml, which is what that command reads.
    """
    found = make_anchor_recall(config, dataset)
    (output / "anchor_recall.json").write_text(json.dumps(found.as_json(), indent=1))
    if found.recall is not None and found.recall < LOW_ANCHOR_RECALL:
        print(
            f"warning: anchor recall {found.recall:.3f}: {len(found.unmatched)} of "
            f"{len(found.rows)} objects have no anchor of IoU {found.positive_iou:g} and cannot be "
            f"learnt well: retinanet anchors {output / 'config.yaml'} --data DATA --fit",
            file=sys.stderr,
        )


def describe_environment() -> dict[str, Any]:
    """Return what a run depends on beside its config: versions, devices, the command."""
    packages = ("keras-retinanet", "tensorflow", "keras", "numpy", "pycocotools", "Pillow")
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "devices": [d.name for d in tf.config.list_logical_devices()],
        "packages": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
