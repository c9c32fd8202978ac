"""Candidates in processes of their own, which make one call when asked and are stopped in between.

A library's thread pool may go on spinning after its call, and in one process that slows whoever
comes next: 441 ms were measured where a candidate alone took 354. Libraries that do not go together
can take turns, one that runs out of memory ends alone, and peaks of memory are each one's own.

`Worker` is the benchmark's end, `serve` the process's. No TensorFlow in here.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

MARK = "@@"  # before each line that is an answer: libraries print lines of their own
HERE = Path(__file__).parent


class Worker:
    """A process that makes calls; once it has failed, it stays so.

    Attributes:
        seconds, cpu_seconds: of each call, in order.
        warmup_seconds: of the calls before these.
        failed: why it gave up; "" if it did not.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.warmup_seconds: float | None = None
        self.failed = ""
        self._command = list(command)

    def start(self) -> None:
        """Start the process, wait until it is warm, and stop it."""
        # The package is found without being installed.
        path = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Not a pipe, which fills up when nobody reads it.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        )
        self.warmup_seconds = self._answer().get("warmup_seconds")
        self._signal(signal.SIGSTOP)

    def call(self) -> None:
        """Let the process go on for one call."""
        if self.failed:
            return
        self._signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):  # it has ended, and says so below
            self._input.write("call\n")
            self._input.flush()
        answer = self._answer()
        if not self.failed:
            self.seconds.append(answer["seconds"])
            self.cpu_seconds.append(answer["cpu_seconds"])
        self._signal(signal.SIGSTOP)

    def finish(self) -> dict[str, Any]:
        """End the process, and return the facts that it has to tell; {} if it failed."""
        facts: dict[str, Any] = {}
        if not self.failed:
            self._signal(signal.SIGCONT)
            with contextlib.suppress(BrokenPipeError):
                self._input.close()
            facts = self._answer()
        self.process.wait()
        return facts

    def kill(self) -> None:
        """End the process if it still runs. A stopped one would stay for ever."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def _input(self) -> Any:
        return self.process.stdin

    def _signal(self, number: int) -> None:
        if not self.failed:
            self.process.send_signal(number)

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        status = self.process.wait()
        self._errors.seek(0)
        errors = self._errors.read().strip().splitlines()
        if status < 0:  # as for its memory; it says nothing itself
            self.failed = f"ended by {signal.Signals(-status).name}"
        else:
            self.failed = errors[-1][:300] if errors else f"exit status {status}"
        return {}


@contextlib.contextmanager
def taking_turns(workers: dict[str, Worker], *, rounds: int) -> Iterator[None]:
    """Start all workers and let them take turns; inside, ask them for facts; then end them."""
    with contextlib.ExitStack() as ending:
        for worker in workers.values():  # one after the other: warming up is most of the work
            worker.start()
            ending.callback(worker.kill)
        for _ in range(rounds):
            for worker in workers.values():
                worker.call()
        yield


def script(python: str, name: str, **settings: Any) -> list[str]:
    """Return the command that runs a worker of this folder with `--name=value` of each setting."""
    return [python, str(HERE / name), *(f"--{key}={value}" for key, value in settings.items())]


def serve(
    call: Callable[[], Any],
    facts: Callable[[], dict[str, Any]] = dict,
    *,
    warmup: int = 2,
) -> None:
    """Warm up, then answer each line of standard input with a call's times, and its end with facts.

    Args:
        call: makes a call and waits for its result.
        facts: what else is to be told at the end.
    """
    start = time.perf_counter()
    for _ in range(warmup):
        call()
    _say({"warmup_seconds": time.perf_counter() - start})
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        _say({"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu})
    _say(facts())


def _say(answer: dict[str, Any]) -> None:
    print(MARK + json.dumps(answer), flush=True)
