"""Training: from a config and two data sets to a run directory with the trained model."""

import contextlib
import copy
import dataclasses
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.config.load import dump_config
from keras_retinanet.config.schema import Config
from keras_retinanet.data.dataset import DetectionDataset, write_findings
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.data.pipeline.reading_errors import reading_errors
from keras_retinanet.data.pipeline.wait_time import WaitTime
from keras_retinanet.errors import CheckpointError, ConfigError
from keras_retinanet.models.checkpoint_files import Checkpoint, newest_checkpoint
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import save_for_inference
from keras_retinanet.optimizers.weight_average import averaged_weights, keep_averaged_weights
from keras_retinanet.system.atomic_files import write_whole
from keras_retinanet.system.workers import this_worker
from keras_retinanet.training.callbacks import SaveCheckpoints, StopOnNaN
from keras_retinanet.training.callbacks.build import collect_state, make_watchers, restore_state
from keras_retinanet.training.fine_tuning import load_source, take_weights
from keras_retinanet.training.memory_errors import memory_errors
from keras_retinanet.training.narrow_batches import refuse_narrow_batches
from keras_retinanet.training.runs.interruption import InterruptedNow, Interruption
from keras_retinanet.training.runs.run_directory import (
    CONFIG_FILE,
    Run,
    locked,
    read_run,
    write_run,
)
from keras_retinanet.training.runs.training_state import describe_model, refuse_other_model
from keras_retinanet.training.setup import (
    build_model,
    count_epochs,
    make_anchor_recall,
    make_batches,
    make_loss,
    make_optimizer,
    make_plan,
    planned_files,
    resolve_jit_compile,
)
from keras_retinanet.training.step import accumulate_gradients, fit_on_workers
from keras_retinanet.training.strategies import make_strategy, stop_agreement

# Below this share of objects with an anchor, training says how to fit the anchors to the data.
LOW_ANCHOR_RECALL = 0.95


def train(
    config: Config,
    train_set: DetectionDataset,
    val_set: DetectionDataset | None,
    output: Path,
    *,
    data: str | None = None,
    resume: bool = False,
    progress: bool = True,
) -> RetinaNet:
    """Train a RetinaNet and return it; everything about the run is written into `output`.

    run.json, config.yaml, environment.json, data_findings.json, anchor_recall.json, metrics.csv,
    tensorboard/, checkpoints/, best.keras (by AP on `val_set`) and last.keras.

    Args:
        output: an empty or new folder; on resuming, that of the run. All workers of a cluster have
            to see the same one.
        data: where `retinanet train --resume` loads the data from; written into run.json.
        resume: go on from the newest checkpoint in `output` that can be read, and end with the
            weights that a training without a break ends with.
        progress: one line of progress, kept up to date; otherwise a line for each epoch.

    Raises:
        ConfigError: the batch cannot be split over the devices; another process trains there;
            bfloat16 on a CPU with batches too narrow for it.
        CheckpointError: a checkpoint cannot be written or read, or is of another model or data.
        TrainingDiverged: the loss became NaN.
        TrainingInterrupted: SIGTERM or Ctrl-C came; the state is saved.
    """
    strategy = make_strategy(config.training.strategy, tpu=config.training.tpu)
    worker = this_worker()
    keras.utils.set_random_seed(config.training.seed)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    _check_batch(config, strategy.num_replicas_in_sync)
    plan = make_plan(config, train_set)
    num_epochs = count_epochs(config.schedule, plan.steps_per_epoch)
    on_cpu = not tf.config.list_logical_devices("GPU") and config.training.strategy != "tpu"
    if config.model.precision == "mixed_bfloat16" and on_cpu:
        refuse_narrow_batches(plan, train_set.image_paths, num_epochs=num_epochs)
    run = Run(data, train_set.fingerprint())
    with contextlib.ExitStack() as stack:
        if worker.is_chief:
            output.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(output))
        if resume:
            _refuse_other_data(read_run(output), run)
        checkpoint = _newest(output) if resume else None
        model = _compiled_model(config, train_set, plan, strategy, checkpoint)
        if val_set is not None:
            val_set = val_set.with_classes(model.class_names)
        if worker.is_chief:
            write_run(output, run)
            write_whole(output / CONFIG_FILE, dump_config(config))
            _describe_run(config, train_set, val_set, output)
        if config.model.init_from and checkpoint is None:
            _begin_from(model, config.model.init_from, output if worker.is_chief else None)
        interruption = stack.enter_context(Interruption())
        # Under a strategy batches are fetched in advance, and the waiting cannot be told; and what
        # is deterministic may not ask for the time.
        can_wait = strategy.num_replicas_in_sync == 1 and not config.training.deterministic
        wait = WaitTime() if can_wait else None
        watchers = make_watchers(
            config,
            val_set=val_set,
            output=output,
            num_epochs=num_epochs,
            steps_per_epoch=plan.steps_per_epoch,
            is_chief=worker.is_chief,
            is_live=progress,
            wait=wait,
            evaluated_weights=averaged_weights,
        )
        model_config = describe_model(model)
        asked_to_stop = stop_agreement(
            strategy, worker, lambda: interruption.signal_name is not None
        )
        saver = SaveCheckpoints(
            output / "checkpoints" if worker.is_chief else None,
            keep=config.training.keep_checkpoints,
            every_steps=config.training.checkpoint_every,
            steps_per_epoch=plan.steps_per_epoch,
            # A copy: the callbacks go on while it is written.
            state=lambda: copy.deepcopy(
                {"model": model_config, "callbacks": collect_state(watchers)}
            ),
            interruption=interruption,
            asked_to_stop=asked_to_stop,
            may_break_off=worker.count == 1,
        )
        stack.callback(saver.close)
        saver.set_model(model)
        if checkpoint is not None:
            refuse_other_model(model, checkpoint)
            saver.start_from(checkpoint)
            restore_state(watchers, checkpoint.state["callbacks"])
        stop_on_nan = StopOnNaN(
            # The saver counts the step after this callback has looked at it.
            lambda: planned_files(config, train_set, plan, saver.epoch, saver.step),
            saver,
        )

        def batches_from(epoch: int, step: int) -> Any:
            batches = make_batches(
                config, train_set, plan, first_epoch=epoch, first_step=step, strategy=strategy
            )
            return wait.measured(batches) if wait else batches

        sets = [train_set] if val_set is None else [train_set, val_set]
        reading = reading_errors(
            lambda: planned_files(config, train_set, plan, saver.epoch, saver.step) or (),
            [path for dataset in sets for path in dataset.image_paths],
            remark=saver.last_good,
        )
        try:
            with reading, memory_errors(config):
                _fit(
                    model,
                    batches_from,
                    [stop_on_nan, *watchers, saver],
                    saver,
                    num_epochs=num_epochs,
                )
            saver.wait()
        except InterruptedNow:
            saver.save_after_break()
        keep_averaged_weights(model)
        save_for_inference(model, output / "last.keras" if worker.is_chief else None)
        if worker.is_chief:
            if not (output / "best.keras").exists():  # nothing to measure AP on
                shutil.copyfile(output / "last.keras", output / "best.keras")
            write_run(output, dataclasses.replace(run, is_finished=True))
        asked_to_stop()  # a worker that left before the others are done would seem to have crashed
    return model


def _compiled_model(
    config: Config,
    train_set: DetectionDataset,
    plan: TrainingPlan,
    strategy: tf.distribute.Strategy,
    checkpoint: Checkpoint | None,
) -> RetinaNet:
    with strategy.scope():
        model = build_model(_without_other_weights(config, checkpoint), train_set.class_names)
        model.compile(
            optimizer=make_optimizer(config, plan.steps_per_epoch),
            loss=make_loss(config),
            jit_compile=resolve_jit_compile(config, strategy.num_replicas_in_sync),
        )
        # Its variables have to be there to be restored.
        model.optimizer.build(model.trainable_variables)
    if config.training.accumulate > 1:
        accumulate_gradients(model, config.training.accumulate)
    if this_worker().count > 1:
        fit_on_workers(model)
    return model


def _fit(
    model: RetinaNet,
    batches_from: Callable[[int, int], Any],
    callbacks: list[keras.callbacks.Callback],
    saver: SaveCheckpoints,
    *,
    num_epochs: int,
) -> None:
    """Call `fit` for what is left of the training: of a begun epoch, and of the others."""

    def fit(epoch: int, step: int, end: int) -> None:
        model.fit(
            batches_from(epoch, step),
            initial_epoch=epoch,
            epochs=end,
            steps_per_epoch=saver.steps_per_epoch - step,
            callbacks=callbacks,
            shuffle=False,  # the batches come in the plan's order
            verbose=0,  # the watchers tell
        )

    if saver.is_stopped:
        return
    if saver.step == saver.steps_per_epoch:
        _end_epoch(model, callbacks, saver.epoch)
    elif saver.step:
        fit(saver.epoch, saver.step, saver.epoch + 1)
    if saver.epoch < num_epochs and not model.stop_training:
        fit(saver.epoch, 0, num_epochs)


def _end_epoch(model: RetinaNet, callbacks: list[keras.callbacks.Callback], epoch: int) -> None:
    """Do what `fit` does after an epoch's last step, for one whose steps are all done."""
    every = keras.callbacks.CallbackList(callbacks, model=model)
    every.on_train_begin()
    every.on_epoch_begin(epoch)
    results = model.get_metrics_result()
    logs = {name: float(keras.ops.convert_to_numpy(value)) for name, value in results.items()}
    every.on_epoch_end(epoch, logs)
    every.on_train_end()


def _newest(output: Path) -> Checkpoint | None:
    """Return the newest good checkpoint; say which it is, and what is wrong with newer ones."""
    path, checkpoint, faults = newest_checkpoint(output / "checkpoints")
    for fault in faults:
        print(f"warning: {fault}: going back to the one before", file=sys.stderr)
    if checkpoint is None:
        print(f"{output} has no checkpoint yet: beginning with the first step")
    else:
        epoch, step = checkpoint.state["epoch"], checkpoint.state["step"]
        print(f"going on from {path}: epoch {epoch + 1} after step {step}")
    return checkpoint


def _without_other_weights(config: Config, checkpoint: Checkpoint | None) -> Config:
    """Return the config of a model whose weights come from elsewhere: none are to be had for it."""
    changes: dict[str, Any] = {}
    if checkpoint is not None or config.model.init_from:
        changes["weights"] = "none"
    if changes and config.model.batchnorm == "auto":
        # What "auto" was when the weights were had.
        changes["batchnorm"] = (
            checkpoint.state["model"]["batchnorm"]
            if checkpoint is not None
            else load_source(config.model.init_from).batchnorm
        )
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


def _begin_from(model: RetinaNet, source: str, output: Path | None) -> None:
    """Take over the weights of `model.init_from`; print what came of it, and write init_from.json.

    Raises:
        WeightsError: that model's architecture is another.
    """
    report = take_weights(model, load_source(source))
    if output is not None:
        write_whole(output / "init_from.json", json.dumps(report.as_json(), indent=1))
        for line in report.lines():
            print(f"{source}: {line}")


def _refuse_other_data(then: Run, now: Run) -> None:
    if then.train_images != now.train_images:
        raise CheckpointError(
            f"the training data are not those of the run: then {then.train_images}; now "
            f"{now.train_images}: put them back, or start a new run"
        )


def _check_batch(config: Config, num_replicas: int) -> None:
    if config.training.batch_size % (num_replicas * config.training.accumulate):
        accumulated = " times training.accumulate" if config.training.accumulate > 1 else ""
        raise ConfigError(
            f"training.batch_size = {config.training.batch_size} must be a multiple of the "
            f"{num_replicas} devices{accumulated}"
        )


def _describe_run(
    config: Config,
    train_set: DetectionDataset,
    val_set: DetectionDataset | None,
    output: Path,
) -> None:
    """Write what is known of the run before its first step."""
    write_whole(output / "environment.json", json.dumps(describe_environment(), indent=1))
    findings = train_set.findings + (val_set.findings if val_set else [])
    write_findings(findings, output / "data_findings.json")
    report_anchor_recall(config, train_set, output)


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
