"""Clock: what the steps of a training take, and how long it will last."""

import time
from collections.abc import Callable

from keras_retinanet.data.pipeline.wait_time import WaitTime
from keras_retinanet.system.memory import peak_memory, reset_peak_memory
from keras_retinanet.training.callbacks.run_callback import RunCallback
from keras_retinanet.training.progress import Progress

# Weight of the newest step in the moving average of the seconds that a step takes.
NEWEST = 0.05


class Clock(RunCallback):
    """Times the steps, over all the `fit` calls and restarts of a training.

    Adds to an epoch's logs: "step", the training's so far; "seconds", the training's so far;
    "step_seconds", "images_per_second", "data_wait" (the share of the steps' time that was spent
    waiting for batches, where `wait` can tell) and "memory_gb" (the peak). The first step of a
    `fit`, which makes the graph, is left out of rates.

    Args:
        batch_size: of all devices together.
        now: seconds that only rise.
    """

    def __init__(
        self,
        *,
        progress: Progress,
        batch_size: int,
        wait: WaitTime | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__()
        self.progress = progress
        self.batch_size = batch_size
        self.step_seconds: float | None = None
        self._wait = wait
        self._now = now
        self._seconds = 0.0  # until the last `fit` ended
        self._running_since: float | None = None
        self._between = 0.0  # seconds spent outside of steps
        self._epoch = dict.fromkeys(("steps", "seconds", "waited"), 0.0)
        self._begin = self._last_end = 0.0  # of the running step, and of the one before
        self._step_at_begin = 0
        self._is_first = True

    @property
    def seconds(self) -> float:
        """What the training has taken so far, evaluations and all."""
        running = 0.0 if self._running_since is None else self._now() - self._running_since
        return self._seconds + running

    @property
    def images_per_second(self) -> float | None:
        return self.batch_size / self.step_seconds if self.step_seconds else None

    @property
    def remaining_seconds(self) -> float | None:
        """What the training will take, if it goes on as it did; None before the second step."""
        if self.step_seconds is None:
            return None
        progress = self.progress
        steps = progress.num_epochs * progress.steps_per_epoch - progress.step
        # Evaluations and checkpoints come once an epoch, more or less.
        epochs_done = progress.step / progress.steps_per_epoch
        between = self._between / max(epochs_done, 1) * (steps / progress.steps_per_epoch)
        return steps * self.step_seconds + between

    @property
    def data_wait(self) -> float | None:
        """The share of this epoch's steps that was spent waiting for batches."""
        if self._wait is None or not self._epoch["seconds"]:
            return None
        return min(1.0, self._epoch["waited"] / self._epoch["seconds"])

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._running_since = self._now()
        self._is_first = True

    def on_train_end(self, logs: dict | None = None) -> None:
        self._seconds = self.seconds
        self._running_since = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self.progress.place[1] == 0:  # not one that goes on after a restart
            self._epoch = dict.fromkeys(self._epoch, 0.0)
            reset_peak_memory()
        self._last_end = self._now()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        now = self._now()
        self._between += now - self._last_end
        self._begin = now
        self._step_at_begin = self.progress.step
        if self._wait is not None:
            self._wait.take()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._last_end = self._now()
        steps, seconds = self.progress.step - self._step_at_begin, self._last_end - self._begin
        if self._is_first:
            self._is_first = False
            return
        if self._wait is not None:
            self._epoch["waited"] += self._wait.take()
        self._epoch["steps"] += steps
        self._epoch["seconds"] += seconds
        newest = seconds / steps
        if self.step_seconds is None:
            self.step_seconds = newest
        self.step_seconds += NEWEST * (newest - self.step_seconds)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is None or not self.progress.is_epoch_end:
            return
        logs["step"] = self.progress.step
        logs["seconds"] = self.seconds
        if self._epoch["steps"]:
            logs["step_seconds"] = self._epoch["seconds"] / self._epoch["steps"]
            logs["images_per_second"] = self.batch_size / logs["step_seconds"]
        if self.data_wait is not None:
            logs["data_wait"] = self.data_wait
        logs["memory_gb"] = peak_memory() / 1e9

    def get_state(self) -> dict:
        return {
            "seconds": self.seconds,
            "step_seconds": self.step_seconds,
            "between": self._between,
            "epoch": dict(self._epoch),
        }

    def set_state(self, state: dict) -> None:
        self._seconds = state["seconds"]
        self._running_since = None if self._running_since is None else self._now()
        self.step_seconds = state["step_seconds"]
        self._between = state["between"]
        self._epoch = dict(state["epoch"])
