"""A module of this package as a process of its own: with its memory, and gone with its parent."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
_STDIN = 0


def module_command(module: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment that run a module of this package."""
    paths = [str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return [sys.executable, "-m", module], {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@contextlib.contextmanager
def started(
    command: list[str], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen]:
    """Start a process that prints into `log`, and end it at the latest when the block ends.

    Its standard input stays open as long as this process lives; see `end_with_parent`.
    """
    with open(log, "wb") as printed:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes here alone, and ends it below
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def end_with_parent() -> None:
    """End this process when its standard input ends, as it does when its parent is killed."""

    def watch() -> None:
        while os.read(_STDIN, 1):  # `sys.stdin` has a lock, which this would hold to the end
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def how_it_ended(code: int) -> str:
    """Return the words for a process' exit status that is not 0."""
    if code >= 0:
        return f"its process ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    more = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
    return f"its process was ended by {name}{more}"
