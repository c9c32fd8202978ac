"""The callbacks that watch a training, built from the config; their state, for checkpoints."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_retinanet.config.schema import Config
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.pipeline.wait_time import WaitTime
from keras_retinanet.data.sampling import sample_images
from keras_retinanet.errors import ConfigError
from keras_retinanet.training.callbacks import (
    Clock,
    EarlyStopping,
    EvaluateOnDataset,
    LogLearningRate,
    MetricsHistory,
    ProgressLine,
    TensorBoard,
)
from keras_retinanet.training.callbacks.by_name import callbacks_by_name


def make_watchers(
    config: Config,
    *,
    val_set: DetectionDataset | None,
    output: Path,
    num_epochs: int,
    steps_per_epoch: int,
    is_chief: bool = True,
    is_live: bool = False,
    wait: WaitTime | None = None,
    evaluated_weights: Callable[[keras.Model], Any] = contextlib.nullcontext,
) -> list[keras.callbacks.Callback]:
    """Return the callbacks, in the order in which they need each other.

    What saves checkpoints comes after them, so that it saves their state of the same step; what
    stops at NaN before. `fit` is called with verbose=0.

    Args:
        val_set: with the model's classes.
        num_epochs, steps_per_epoch: of the whole training, restarts included.
        is_chief: write files and lines; the other workers take part in evaluations only.
        is_live: keep one line of progress up to date, as a terminal can.
        wait: what measures the training batches.
        evaluated_weights: see `EvaluateOnDataset`.

    Raises:
        ConfigError: a callback cannot be had, or there is nothing to watch that is to be watched.
    """
    training, stopping = config.training, config.early_stopping
    if stopping.monitor == "AP" and val_set is None:
        raise ConfigError(
            "early_stopping.monitor = AP needs a split val: set it to loss, or add the split"
        )
    named = callbacks_by_name(training.callbacks) if is_chief else []
    clock = Clock(
        num_epochs=num_epochs,
        steps_per_epoch=steps_per_epoch,
        batch_size=training.batch_size,
        wait=wait,
    )
    progress = ProgressLine(clock=clock, is_live=is_live)
    watchers: list[keras.callbacks.Callback] = [clock, LogLearningRate()]
    history = MetricsHistory(output / "metrics.csv" if is_chief else None, clock=clock)
    listeners: list[Any] = [history]
    tensorboard = []
    if is_chief:
        images = [] if val_set is None else sample_images(val_set, training.tensorboard_images, 0)
        tensorboard = [
            TensorBoard(
                output / "tensorboard", clock=clock, dataset=val_set, images=[*map(int, images)]
            )
        ]
        listeners += tensorboard
    if stopping.monitor is not None:
        early = EarlyStopping(
            clock=clock,
            monitor=stopping.monitor,
            patience=stopping.patience,
            min_delta=stopping.min_delta,
            say=progress.say if is_chief else lambda _: None,
        )
        watchers.append(early)
        listeners.append(early)
    if val_set is not None:
        watchers.append(
            EvaluateOnDataset(
                val_set,
                clock=clock,
                every_epochs=training.evaluate_every,
                every_steps=training.evaluate_every_steps,
                batch_size=training.batch_size,
                best_path=output / "best.keras" if is_chief else None,
                evaluated_weights=evaluated_weights,
                listeners=listeners,
            )
        )
    watchers += [history, *tensorboard, *named]
    return [*watchers, progress] if is_chief else watchers


def collect_state(callbacks: Sequence[keras.callbacks.Callback]) -> dict[str, dict]:
    """Return the state, as JSON holds it, of all callbacks that have one, by class name."""
    return {
        type(callback).__name__: callback.get_state()
        for callback in callbacks
        if hasattr(callback, "get_state")
    }


def restore_state(callbacks: Sequence[keras.callbacks.Callback], state: dict[str, dict]) -> None:
    """Give callbacks back what `collect_state` returned; before `fit` goes on.

    One that the state does not know, since it was added on resuming, begins anew.
    """
    for callback in callbacks:
        if hasattr(callback, "set_state") and type(callback).__name__ in state:
            callback.set_state(state[type(callback).__name__])


def stop_reason(callbacks: Sequence[keras.callbacks.Callback]) -> str | None:
    """Return the line that early stopping said, also after a restart; None if it did not stop."""
    return next((c.stopped for c in callbacks if getattr(c, "stopped", None)), None)
