"""Training: from a config and two data sets to a run directory with the trained model."""

import contextlib
import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any

import keras

from keras_retinanet.config.load import dump_config
from keras_retinanet.config.schema import Config
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.pipeline.reading_errors import reading_errors
from keras_retinanet.errors import CheckpointError
from keras_retinanet.models.checkpoint_files import Checkpoint, newest_checkpoint
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import save_for_inference
from keras_retinanet.optimizers.weight_average import keep_averaged_weights
from keras_retinanet.system.buckets.outgoing import outgoing, send
from keras_retinanet.system.workers import this_worker
from keras_retinanet.training.best_thresholds import save_best_thresholds
from keras_retinanet.training.runs.description import describe_run
from keras_retinanet.training.runs.interruption import InterruptedNow, Interruption
from keras_retinanet.training.runs.run_directory import (
    BEST_DETECTIONS_FILE,
    BEST_MODEL_FILE,
    Run,
    claimed,
    read_run,
    write_run,
)
from keras_retinanet.training.setup.first_lines import first_lines
from keras_retinanet.training.setup.input_batches import make_anchor_recall
from keras_retinanet.training.setup.memory_errors import memory_errors
from keras_retinanet.training.setup.optimization import warn_of_length
from keras_retinanet.training.setup.prepare import Setup, prepare
from keras_retinanet.training.setup.run_callbacks import RunCallbacks, make_callbacks

logger = logging.getLogger(__name__)


def train(
    config: Config,
    train_set: DetectionDataset,
    val_set: DetectionDataset | None,
    output: str | Path,
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
        ConfigError: the folder is not empty, or another process trains there; the batch cannot be
            split over the devices; bfloat16 on a CPU with batches too narrow for it.
        CheckpointError: a checkpoint cannot be written or read, or is of another model or data.
        TrainingDiverged: the loss became NaN.
        TrainingInterrupted: SIGTERM or Ctrl-C came; the state is saved.
    """
    output, run = outgoing(output), Run(data, train_set.fingerprint())
    with contextlib.ExitStack() as stack:
        if this_worker().is_chief:
            stack.enter_context(claimed(output, resume=resume))
        checkpoint = _checkpoint_to_go_on_from(output, run) if resume else None
        setup = prepare(config, train_set, checkpoint=checkpoint)
        if val_set is not None:
            val_set = val_set.with_classes(setup.model.class_names)
        if setup.worker.is_chief:
            write_run(output, run, config=dump_config(config))
            _describe(setup, val_set, output)
        interruption = stack.enter_context(Interruption())
        callbacks = make_callbacks(
            setup, val_set=val_set, output=output, interruption=interruption, is_live=progress
        )
        stack.callback(callbacks.saver.close)
        try:
            _fit(setup, val_set, callbacks)
        except InterruptedNow:
            callbacks.saver.save_after_break()
        _finish(setup, val_set, output, run)
        callbacks.saver.leave_together()
    return setup.model


def _checkpoint_to_go_on_from(output: Path, run: Run) -> Checkpoint | None:
    """Return the newest good checkpoint; tell which it is, and what is wrong with newer ones.

    Raises:
        ConfigError: the folder holds no run.
        CheckpointError: the run is one of other data, or no checkpoint can be read.
    """
    before = read_run(output)
    if before.train_images != run.train_images:
        raise CheckpointError(
            f"the training data are not those of the run: then {before.train_images}; now "
            f"{run.train_images}: put them back, or start a new run"
        )
    path, checkpoint, faults = newest_checkpoint(output / "checkpoints")
    for fault in faults:
        logger.warning("%s: going back to the one before", fault)
    if checkpoint is None:
        logger.info("%s has no checkpoint yet: beginning with the first step", output)
    else:
        epoch, step = checkpoint.state["epoch"], checkpoint.state["step"]
        logger.info("going on from %s: epoch %d after step %d", path, epoch + 1, step)
    return checkpoint


def _describe(setup: Setup, val_set: DetectionDataset | None, output: Path) -> None:
    """Write and tell what is known of a run before its first step."""
    # Both sets may be parts of one, with the same findings.
    findings = list(dict.fromkeys(setup.train_set.findings + (val_set.findings if val_set else [])))
    if setup.checkpoint is None:
        num_images = len(setup.train_set.image_paths)
        warn_of_length(setup.config.schedule, setup.plan.steps_per_epoch, num_images)
    for line in first_lines(setup, has_val=val_set is not None):
        logger.info("%s", line)
    recall = make_anchor_recall(setup.config, setup.train_set)
    describe_run(
        output,
        findings=findings,
        anchor_recall=recall,
        transfer=setup.transfer,
        matches_by_iou=setup.config.anchors.matching == "iou",
    )
    send(
        output, is_last_word=False
    )  # a run that is killed before its first checkpoint resumes, too


def _fit(setup: Setup, val_set: DetectionDataset | None, callbacks: RunCallbacks) -> None:
    """Call `fit` for what is left of the training: of a begun epoch, and of the others."""
    model, progress, saver = setup.model, callbacks.progress, callbacks.saver
    steps_per_epoch = progress.steps_per_epoch

    def fit(epoch: int, step: int, end: int) -> None:
        batches = setup.batches(epoch, step)
        model.fit(
            callbacks.wait.measured(batches) if callbacks.wait else batches,
            initial_epoch=epoch,
            epochs=end,
            steps_per_epoch=steps_per_epoch - step,
            callbacks=callbacks.every,
            shuffle=False,  # the batches come in the plan's order
            verbose=0,  # the callbacks tell
        )

    sets = [setup.train_set] if val_set is None else [setup.train_set, val_set]
    reading = reading_errors(
        lambda: setup.batch_files(*progress.place) or (),
        [path for dataset in sets for path in dataset.image_paths],
        remark=saver.last_good,
    )
    with reading, memory_errors(setup.config):
        if saver.is_stopped:
            return
        epoch, step = progress.place
        if step == steps_per_epoch:
            _end_epoch(model, callbacks.every, epoch)
        elif step:
            fit(epoch, step, epoch + 1)
        epoch, _ = progress.place
        if epoch < progress.num_epochs and not model.stop_training:
            fit(epoch, 0, progress.num_epochs)
    saver.wait()


def _end_epoch(model: RetinaNet, callbacks: list[keras.callbacks.Callback], epoch: int) -> None:
    """Do what `fit` does after an epoch's last step, for one whose steps are all done."""
    every: Any = keras.callbacks.CallbackList(callbacks, model=model)
    every.on_train_begin()
    every.on_epoch_begin(epoch)
    results = model.get_metrics_result()
    logs = {name: float(keras.ops.convert_to_numpy(value)) for name, value in results.items()}
    every.on_epoch_end(epoch, logs)
    every.on_train_end()


def _finish(setup: Setup, val_set: DetectionDataset | None, output: Path, run: Run) -> None:
    """Write the last model, and that nothing is left to do."""
    is_chief = setup.worker.is_chief
    keep_averaged_weights(setup.model)
    save_for_inference(setup.model, output / "last.keras" if is_chief else None)
    if is_chief:
        if not (output / "best.keras").exists():  # nothing to measure AP on
            shutil.copyfile(output / "last.keras", output / "best.keras")
        detections = output / BEST_DETECTIONS_FILE
        if setup.config.inference.thresholds and val_set is not None and detections.is_file():
            save_best_thresholds(output / BEST_MODEL_FILE, detections, val_set)
        write_run(output, dataclasses.replace(run, is_finished=True))
