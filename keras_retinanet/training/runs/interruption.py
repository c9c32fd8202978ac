"""Interruption: SIGTERM and Ctrl-C ask a training to save and end, in place of ending it."""

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class InterruptedNow(BaseException):
    """Raised by a signal where a training has nothing to lose: its state was taken before."""


class Interruption:
    """Inside this context a first signal is noted, and a second one ends the process as usual.

    Attributes:
        signal_name: "SIGTERM" or "SIGINT" once it came, else None.
        may_break_off: whether a signal may raise InterruptedNow wherever the program is, for long
            work that can be repeated.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self.may_break_off = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        # Python allows handlers in the main thread alone; elsewhere signals do what they did.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal_name is not None:
            self.__exit__()
            signal.raise_signal(number)
            return
        self.signal_name = signal.Signals(number).name
        if self.may_break_off:
            self.may_break_off = False
            raise InterruptedNow
