"""SaveCheckpoints: the whole state of a training, every so many steps and when a signal asks."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_retinanet.errors import TrainingDiverged, TrainingInterrupted
from keras_retinanet.models.checkpoint_files import (
    Checkpoint,
    checkpoint_path,
    newest_checkpoint,
    remove_old_checkpoints,
    write_checkpoint,
)
from keras_retinanet.system.buckets.outgoing import send
from keras_retinanet.system.replicas import agree_on_statistics
from keras_retinanet.training.progress import Progress
from keras_retinanet.training.runs.interruption import Interruption
from keras_retinanet.training.runs.training_state import not_finite, put_arrays, take_arrays


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves after every epoch, every `every_steps` steps, and at the step after a signal.

    It comes after all callbacks whose state is saved. Arrays are copied between two steps; a
    thread writes them while the training goes on, one checkpoint at a time.

    Args:
        folder: of the checkpoints, or None for a worker that writes none: all workers take part in
            copying.
        keep: so many checkpoints stay.
        state: returns what else belongs to the state, as JSON holds it.
        asked_to_stop: whether a signal came, to this worker or another.
        may_break_off: whether a signal may end an evaluation at once; not with several workers,
            which wait for each other.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        progress: Progress,
        keep: int,
        every_steps: int | None,
        state: Callable[[], dict[str, Any]],
        interruption: Interruption,
        asked_to_stop: Callable[[], bool],
        may_break_off: bool = True,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.progress = progress
        self.keep = keep
        self.every_steps = every_steps
        self.is_stopped = False  # by another callback, before the last epoch
        self._state = state
        self._interruption = interruption
        self._asked_to_stop = asked_to_stop
        self._may_break_off = may_break_off
        self._before_epoch_end: dict[str, Any] | None = None
        self._restored: Checkpoint | None = None
        self._writer: _Writer = _Writer()

    def start_from(self, checkpoint: Checkpoint) -> None:
        """Give the model the arrays of a checkpoint, and go on counting at its step."""
        put_arrays(self.model, checkpoint.arrays, with_metrics=False)
        self.progress.go_on_from(checkpoint.state["epoch"], checkpoint.state["step"])
        self.is_stopped = checkpoint.state["is_stopped"]
        self._restored = checkpoint

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self._restored is not None:
            # `fit` has just set the metrics back.
            put_arrays(self.model, self._restored.arrays, with_metrics=True)
            self._restored = None
            if self.progress.place[1] == 0:  # those were of the epoch before, but for what
                self.model.reset_metrics()  # outlives epochs

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._writer.raise_error()
        if self._asked_to_stop():
            self._save_and_stop()
        if self.progress.is_epoch_end:
            # What follows may take long, and can be repeated from here.
            self._before_epoch_end = self._full_state()
            self._interruption.may_break_off = self._may_break_off
        elif self.every_steps and self.progress.step % self.every_steps == 0:
            self.save(self._full_state())

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._interruption.may_break_off = False
        self._before_epoch_end = None
        if self._asked_to_stop():
            self._save_and_stop()
        self.save(self._full_state())

    def save(self, state: dict[str, Any]) -> None:
        """Copy the arrays, and have them written.

        Raises:
            TrainingDiverged: there is NaN or infinity in them; what was saved before stays.
            CheckpointError: the checkpoint before could not be written.
        """
        if self.model.distribute_strategy.num_replicas_in_sync > 1:
            agree_on_statistics(self.model)  # so that those who resume go on with the same ones
        arrays = take_arrays(self.model)
        bad = not_finite(arrays)
        if bad is not None:
            raise TrainingDiverged(
                f"the last update of epoch {state['epoch'] + 1}, step {state['step']} made "
                f"{bad} NaN or infinite: lower optimizer.learning_rate or raise "
                f"schedule.warmup_iterations; {self.last_good()}"
            )
        if self.folder is not None:
            total = state["epoch"] * self.progress.steps_per_epoch + state["step"]
            path = checkpoint_path(self.folder, total)
            self._writer.start(path, Checkpoint(arrays, state), keep=self.keep)

    def save_after_break(self) -> None:
        """After InterruptedNow: save as it was before the epoch's end, and raise what tells so."""
        state = self._before_epoch_end
        if state is None:  # it came when all was done, or nothing
            raise TrainingInterrupted(self._stopped_line(*self.progress.place))
        self._save_and_stop(state)

    def wait(self) -> None:
        """Return when all is written.

        Raises:
            CheckpointError: it could not be written.
        """
        self._writer.wait()
        self._writer.raise_error()

    def close(self) -> None:
        """Let a checkpoint that is being written be finished, whatever ended the training."""
        self._writer.wait()

    def leave_together(self) -> None:
        """Wait for the other workers: one that left early would seem to have crashed."""
        self._asked_to_stop()

    def last_good(self) -> str:
        """Return, for messages, which checkpoint is there."""
        self._writer.wait()
        path = newest_checkpoint(self.folder)[0] if self.folder else None
        return f"the last good state is {path}" if path else "no checkpoint was saved before"

    def _save_and_stop(self, state: dict[str, Any] | None = None) -> None:
        state = self._full_state() if state is None else state
        self.save(state)
        self.wait()
        raise TrainingInterrupted(self._stopped_line(state["epoch"], state["step"]))

    def _stopped_line(self, epoch: int, step: int) -> str:
        signal = self._interruption.signal_name or "a signal to another worker"
        run = self.folder.parent if self.folder else "and the run directory"
        return (
            f"stopped by {signal} in epoch {epoch + 1} after step {step}; the state is saved: "
            f"go on with retinanet train --resume {run}"
        )

    def _full_state(self) -> dict[str, Any]:
        epoch, step = self.progress.place
        is_stopped = bool(self.model.stop_training)
        return {"epoch": epoch, "step": step, "is_stopped": is_stopped, **self._state()}


class _Writer:
    """Writes one checkpoint at a time in a thread; its error is raised in the training's thread."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def start(self, path: Path, checkpoint: Checkpoint, *, keep: int) -> None:
        self.wait()
        self.raise_error()

        def write() -> None:
            try:
                write_checkpoint(path, checkpoint)
                remove_old_checkpoints(path.parent, keep=keep)
                send(path.parent.parent, is_last_word=False)
            except Exception as error:
                self._error = error

        self._thread = threading.Thread(target=write, name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
