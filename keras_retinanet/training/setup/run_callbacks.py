"""From a setup to the callbacks of its training, and their state for checkpoints."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from keras_retinanet.config.schema import Config
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.pipeline.wait_time import WaitTime
from keras_retinanet.data.sampling import sample_images
from keras_retinanet.errors import ConfigError
from keras_retinanet.optimizers.weight_average import averaged_weights
from keras_retinanet.training.callbacks import (
    Clock,
    EarlyStopping,
    EvaluateOnDataset,
    LogLearningRate,
    MetricsHistory,
    ProgressLine,
    RunCallback,
    SaveCheckpoints,
    StopOnNaN,
    TensorBoard,
)
from keras_retinanet.training.callbacks.by_name import callbacks_by_name
from keras_retinanet.training.progress import Progress
from keras_retinanet.training.runs.interruption import Interruption
from keras_retinanet.training.runs.training_state import describe_model, refuse_other_model
from keras_retinanet.training.setup.prepare import Setup
from keras_retinanet.training.strategies import stop_agreement


@dataclass(frozen=True)
class RunCallbacks:
    """The callbacks of a training, in the order in which they need each other.

    Attributes:
        progress, saver: those of `every` that count, and that write checkpoints.
        wait: what measures the waiting for batches; None where that cannot be told.
    """

    every: list[keras.callbacks.Callback]
    progress: Progress
    saver: SaveCheckpoints
    wait: WaitTime | None


def make_callbacks(
    setup: Setup,
    *,
    val_set: DetectionDataset | None,
    output: Path,
    interruption: Interruption,
    is_live: bool,
) -> RunCallbacks:
    """Return the callbacks of a training; with a checkpoint, model and callbacks are put back.

    Args:
        val_set: with the model's classes.
        is_live: keep one line of progress up to date, as a terminal can.

    Raises:
        ConfigError: a callback cannot be had, or there is nothing to watch that is to be watched.
        CheckpointError: the checkpoint is of another model.
    """
    config, is_chief = setup.config, setup.worker.is_chief
    progress = Progress(num_epochs=setup.num_epochs, steps_per_epoch=setup.plan.steps_per_epoch)
    # Under a strategy batches are fetched in advance, and the waiting cannot be told; and what is
    # deterministic may not ask for the time.
    can_wait = setup.strategy.num_replicas_in_sync == 1 and not config.training.deterministic
    wait = WaitTime() if can_wait else None
    watchers = make_watchers(
        config,
        progress=progress,
        val_set=val_set,
        output=output,
        is_chief=is_chief,
        is_live=is_live,
        wait=wait,
    )
    model_config = describe_model(setup.model)
    saver = SaveCheckpoints(
        output / "checkpoints" if is_chief else None,
        progress=progress,
        keep=config.training.keep_checkpoints,
        every_steps=config.training.checkpoint_every,
        # A copy: the callbacks go on while it is written.
        state=lambda: copy.deepcopy({"model": model_config, "callbacks": collect_state(watchers)}),
        interruption=interruption,
        asked_to_stop=stop_agreement(
            setup.strategy, setup.worker, lambda: interruption.signal_name is not None
        ),
        may_break_off=setup.worker.count == 1,
    )
    saver.set_model(setup.model)
    if setup.checkpoint is not None:
        refuse_other_model(setup.model, setup.checkpoint)
        saver.start_from(setup.checkpoint)
        restore_state(watchers, setup.checkpoint.state["callbacks"])
    stop_on_nan = StopOnNaN(progress=progress, images=setup.batch_files, last_good=saver.last_good)
    return RunCallbacks([progress, stop_on_nan, *watchers, saver], progress, saver, wait)


def make_watchers(
    config: Config,
    *,
    progress: Progress,
    val_set: DetectionDataset | None,
    output: Path,
    is_chief: bool = True,
    is_live: bool = False,
    wait: WaitTime | None = None,
) -> list[keras.callbacks.Callback]:
    """Return the callbacks that measure and tell; `progress` comes before them.

    What saves checkpoints comes after them, so that it saves their state of the same step.

    Args:
        is_chief: write files and lines; the other workers take part in evaluations only.
        wait: what measures the training batches.

    Raises:
        ConfigError: a callback cannot be had, or there is nothing to watch that is to be watched.
    """
    training = config.training
    named = callbacks_by_name(training.callbacks) if is_chief else []
    clock = Clock(progress=progress, batch_size=training.batch_size, wait=wait)
    line = ProgressLine(clock=clock, is_live=is_live)
    history = MetricsHistory(output / "metrics.csv" if is_chief else None, clock=clock)
    tensorboard = [_tensorboard(config, clock, val_set, output)] if is_chief else []
    stopping = _early_stopping(config, progress, val_set, line if is_chief else None)
    evaluation = []
    if val_set is not None:
        evaluation.append(
            EvaluateOnDataset(
                val_set,
                clock=clock,
                every_epochs=training.evaluate_every,
                every_steps=training.evaluate_every_steps,
                batch_size=training.batch_size,
                best_path=output / "best.keras" if is_chief else None,
                evaluated_weights=averaged_weights,
                listeners=[history, *tensorboard, *stopping],
            )
        )
    shown = [line] if is_chief else []
    return [
        *(clock, LogLearningRate(), *stopping, *evaluation, history),
        *(*tensorboard, *named, *shown),
    ]


def _tensorboard(
    config: Config, clock: Clock, val_set: DetectionDataset | None, output: Path
) -> TensorBoard:
    images: list[int] = []
    if val_set is not None:
        images = sample_images(val_set, config.training.tensorboard_images, 0).tolist()
    return TensorBoard(output / "tensorboard", clock=clock, dataset=val_set, images=images)


def _early_stopping(
    config: Config,
    progress: Progress,
    val_set: DetectionDataset | None,
    line: ProgressLine | None,
) -> list[RunCallback]:
    settings = config.early_stopping
    if settings.monitor is None:
        return []
    if settings.monitor == "AP" and val_set is None:
        raise ConfigError(
            "early_stopping.monitor = AP needs a split val: set it to loss, or add the split"
        )
    return [
        EarlyStopping(
            progress=progress,
            monitor=settings.monitor,
            patience=settings.patience,
            min_delta=settings.min_delta,
            say=line.say if line else lambda _: None,
        )
    ]


def collect_state(callbacks: Sequence[keras.callbacks.Callback]) -> dict[str, dict]:
    """Return the state, as JSON holds it, of all callbacks that have one, by class name."""
    states = {type(c).__name__: c.get_state() for c in callbacks if isinstance(c, RunCallback)}
    return {name: state for name, state in states.items() if state}


def restore_state(callbacks: Sequence[keras.callbacks.Callback], state: dict[str, dict]) -> None:
    """Give callbacks back what `collect_state` returned; before `fit` goes on.

    One that the state does not know, since it was added on resuming, begins anew.
    """
    for callback in callbacks:
        if isinstance(callback, RunCallback) and type(callback).__name__ in state:
            callback.set_state(state[type(callback).__name__])
