"""ProgressLine: one line that tells how far a training is."""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from keras_retinanet.training.callbacks.clock import Clock
from keras_retinanet.training.callbacks.run_callback import RunCallback

# Seconds between two states of the line: on a terminal, and in a file, where each is a new one.
SECONDS_ON_TERMINAL, SECONDS_IN_FILE = 0.2, 60.0
# After so many steps the pace is known, and the length of the training is told.
STEPS_TO_ESTIMATE = 20
# Figures of an epoch's logs that its line shows, if they are there.
SHOWN = ("loss", "class_loss", "box_loss", "box_quality_loss", "AP", "AP50", "learning_rate")


class ProgressLine(RunCallback):
    """Shows epoch, step, losses, rate, waiting, memory and the time that is left.

    Takes the place of Keras' progress bar: `fit` is called with verbose=0.

    Args:
        is_live: keep one line up to date, as a terminal can; otherwise a line a minute and for each
            epoch.
    """

    def __init__(self, *, clock: Clock, is_live: bool, stream: TextIO | None = None) -> None:
        super().__init__()
        self.clock = clock
        self.progress = clock.progress
        self.is_live = is_live
        self._stream = sys.stdout if stream is None else stream
        self._shown_at = time.monotonic()
        self._width = 0
        self._steps_to_estimate: int | None = STEPS_TO_ESTIMATE

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._estimate()
        wait = SECONDS_ON_TERMINAL if self.is_live else SECONDS_IN_FILE
        if time.monotonic() - self._shown_at < wait or self.progress.is_epoch_end:
            return
        progress = self.progress
        place = f"epoch {progress.epoch}/{progress.num_epochs}"
        step = f"step {progress.step_of_epoch}/{progress.steps_per_epoch}"
        # On a terminal there is room for the loss alone.
        shown = _figures(logs or {}, ("loss",) if self.is_live else SHOWN)
        # What is cut off at 80 columns is at the end.
        self._show([place, step, *self._left(), *shown, *self._pace()], is_last=not self.is_live)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if not self.progress.is_epoch_end:
            return
        logs = logs or {}
        parts = [f"epoch {self.progress.epoch}/{self.progress.num_epochs}", *_figures(logs)]
        if "images_per_second" in logs:
            parts += [f"{logs['images_per_second']:.3g} images/s"]
            parts += [f"{logs['step_seconds']:.3g} s/step"]
        if "data_wait" in logs:
            parts.append(f"waiting {100 * logs['data_wait']:.0f}%")
        if "memory_gb" in logs:
            parts.append(f"{logs['memory_gb']:.2f} GB")
        parts.append(f"{duration(self.clock.seconds)} so far")
        if self.clock.remaining_seconds:
            parts += self._left()
        self._show(parts, is_last=True)

    def say(self, text: str) -> None:
        """Write a line of its own."""
        self._show([text], is_last=True)

    def _estimate(self) -> None:
        """Say once, when the first steps are done, how long the training will be."""
        if self._steps_to_estimate is None:
            return
        self._steps_to_estimate -= 1
        left = self.clock.remaining_seconds
        if self._steps_to_estimate <= 0 and left is not None:
            self._steps_to_estimate = None
            self.say(f"about {duration(left)} to go, evaluations not counted")

    def _left(self) -> list[str]:
        left = self.clock.remaining_seconds
        return [] if left is None else [f"{duration(left)} left"]

    def _pace(self) -> list[str]:
        clock, parts = self.clock, []
        if clock.images_per_second is not None:
            parts += [f"{clock.images_per_second:.3g} images/s", f"{clock.step_seconds:.3g} s/step"]
        if clock.data_wait is not None:
            parts.append(f"waiting {100 * clock.data_wait:.0f}%")
        return parts

    def _show(self, parts: list[str], *, is_last: bool) -> None:
        line = "  ".join(parts)
        if self.is_live and not is_last:  # one that wraps cannot be written over
            line = line[: shutil.get_terminal_size().columns - 1]
        start = "\r" if self.is_live else ""
        self._stream.write(start + line.ljust(self._width) + ("\n" if is_last else ""))
        self._stream.flush()
        self._width = 0 if is_last else len(line)
        self._shown_at = time.monotonic()


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds: "1:02:03", "2:03"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _figures(logs: dict, names: Sequence[str] = SHOWN) -> list[str]:
    return [f"{name} {float(logs[name]):.4g}" for name in names if name in logs]
