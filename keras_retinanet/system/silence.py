"""What other people's code prints, kept off the terminal."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import IO

logger = logging.getLogger(__name__)

# Loggers that write to the terminal by handlers of their own.
_LOGGERS = ("absl", "tensorflow", "tf2onnx")
# Loggers of file systems, whose errors are also raised.
_TOLD_OTHERWISE = ("fsspec", "gcsfs", "s3fs")
_STDOUT, _STDERR = 1, 2


@contextlib.contextmanager
def silence(what: str) -> Iterator[None]:
    """Keep everything that is printed inside off the terminal, and log it at level DEBUG.

    C++ writes to the file descriptors, Python to `sys.stdout` and `sys.stderr`, which are others in
    a notebook.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed:
        try:
            with warnings.catch_warnings(), quiet_loggers(), _redirected(printed):
                warnings.simplefilter("ignore")
                yield
        finally:
            printed.seek(0)
            if text := printed.read().strip():
                logger.debug("%s printed:\n%s", what, text)


@contextlib.contextmanager
def quiet_loggers() -> Iterator[None]:
    """Let the loggers of other packages tell of errors alone."""
    wanted = {
        **dict.fromkeys(_LOGGERS, logging.ERROR),
        **dict.fromkeys(_TOLD_OTHERWISE, logging.CRITICAL),
    }
    loggers = [logging.getLogger(name) for name in wanted]
    levels = [each.level for each in loggers]
    for each, level in zip(loggers, wanted.values(), strict=True):
        each.setLevel(level)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@contextlib.contextmanager
def _redirected(file: IO[str]) -> Iterator[None]:
    streams = [each for each in (sys.stdout, sys.stderr) if each is not None]  # None: pythonw
    with contextlib.ExitStack() as restore:
        for descriptor in (_STDOUT, _STDERR):
            saved = os.dup(descriptor)
            restore.callback(os.close, saved)
            restore.callback(os.dup2, saved, descriptor)
        # What waits in a buffer goes where it was meant to go: these run first, at both ends.
        for stream in (*streams, file):
            stream.flush()
            restore.callback(stream.flush)
        for descriptor in (_STDOUT, _STDERR):
            os.dup2(file.fileno(), descriptor)
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            yield
