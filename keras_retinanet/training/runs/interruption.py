"""Interruption: SIGTERM and Ctrl-C ask a training to save and end, in place of ending it."""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class InterruptedNow(BaseException):
    """Raised by a signal where a training has nothing to lose: its state was taken before."""


class Interruption:
    """Inside this context a first signal is noted, and a second one ends the process as usual.

    Python calls its handlers when a step is over, which may take long. A thread answers at once.

    Attributes:
        signal_name: "SIGTERM" or "SIGINT" once it came, else None.
        may_break_off: whether a signal may raise InterruptedNow wherever the program is, for long
            work that can be repeated.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self.may_break_off = False
        self._before: dict[signal.Signals, Any] = {}
        self._answer: _Answer | None = None

    def __enter__(self) -> "Interruption":
        # Python allows handlers in the main thread alone; elsewhere signals do what they did.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
            self._answer = _Answer()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal_name is not None:
            self.__exit__()
            signal.raise_signal(number)
            return
        self.signal_name = signal.Signals(number).name
        if self.may_break_off:
            self.may_break_off = False
            raise InterruptedNow


class _Answer:
    """A thread that says what becomes of the first signal, while the main thread is in a step."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        while number := os.read(self._read, 1):
            if number[0] in SIGNALS:
                name = signal.Signals(number[0]).name
                logger.warning(
                    "%s: stopping after this step; a second one ends at once, unsaved", name
                )
                return

    def close(self) -> None:
        signal.set_wakeup_fd(self._before)
        os.close(self._write)
        if self._thread is not threading.current_thread():
            self._thread.join()
        os.close(self._read)
