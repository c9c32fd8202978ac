"""What C++ writes to the standard error of a process: dropped, unless the process crashes.

This file is also a program, the reader of those lines, and imports only what starts quickly.
"""

import collections
import contextlib
import faulthandler
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import BinaryIO, TextIO

_STDERR = 2
_LINES_KEPT = 40
_LONGEST_LINE = 10_000  # bytes
# The first line of what `faulthandler` writes when a signal such as SIGSEGV ends the process.
_CRASH = b"Fatal Python error"
# Information and warnings: "I0000 00:00:17...", "2026-01-31 23:59:59.9: W tensorflow/...".
_REMARK = re.compile(rb"[IW]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [IW] |WARNING: All log messages")
_SECONDS_TO_END = 2.0


@contextlib.contextmanager
def without_native_lines() -> Iterator[None]:
    """Keep the lines of TensorFlow, XLA, oneDNN and CUDA off the terminal.

    C++ writes them straight to file descriptor 2, some before any log level is read. Inside, they
    go to a process that reads them, since one that crashes can no longer show its last lines, and
    no file grows in a long training. Python's `sys.stderr` is a copy of the descriptor.
    """
    sys.stderr.flush()
    with contextlib.ExitStack() as at_the_end:
        shown = os.dup(_STDERR)
        at_the_end.callback(os.close, shown)
        lines, end = os.pipe()
        reader = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=lines,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it: it ends with this process
        )
        os.close(lines)
        at_the_end.callback(_wait_for, reader)
        at_the_end.callback(os.dup2, shown, _STDERR)
        os.dup2(end, _STDERR)
        os.close(end)
        if _writes_to_stderr(sys.stderr):
            at_the_end.enter_context(contextlib.redirect_stderr(_copy_of(sys.stderr, shown)))
        if not faulthandler.is_enabled():
            faulthandler.enable(file=_STDERR)  # behind the last lines of C++, which say why
            at_the_end.callback(faulthandler.disable)
        yield
        sys.stderr.flush()


def show_crash(lines: BinaryIO, shown: BinaryIO) -> None:
    """Read to the end; write the last lines, without remarks, if they tell of a crash."""
    kept: collections.deque[bytes] = collections.deque(maxlen=_LINES_KEPT)
    has_crashed = False
    for line in iter(lambda: lines.readline(_LONGEST_LINE), b""):
        if line.startswith(_CRASH):
            has_crashed = True
            shown.writelines(kept)
        if has_crashed:
            shown.write(line)
        elif not _REMARK.match(line):
            kept.append(line)
    shown.flush()


def _wait_for(reader: subprocess.Popen) -> None:
    try:
        reader.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:  # a process that was started inside still has the pipe
        reader.kill()
        reader.wait()


def _writes_to_stderr(stream: TextIO) -> bool:
    try:
        return stream.fileno() == _STDERR
    except (AttributeError, OSError, ValueError):  # a test's, or a notebook's
        return False


def _copy_of(stream: TextIO, descriptor: int) -> TextIO:
    return open(
        descriptor,
        "w",
        buffering=1,
        encoding=stream.encoding,
        errors=stream.errors,
        closefd=False,
    )


if __name__ == "__main__":
    show_crash(sys.stdin.buffer, sys.stderr.buffer)
