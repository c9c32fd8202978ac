"""Several training workers on this machine, over loopback: to try what runs on several machines.

A worker that dies takes the others with it, as on a real cluster, and all are started again from
the last checkpoint. Also runs as a program: `python -m keras_retinanet.cli.local_cluster --help`.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

# Statuses of `retinanet train` after which starting again would not help.
FINAL_STATUSES = {0: "done", 2: "refused", 75: "interrupted"}
# How long the others may take to notice that one is gone, before they are killed.
GRACE_SECONDS = 20.0
POLL_SECONDS = 0.2


def run_cluster(
    num_workers: int, arguments: Sequence[str], output: Path, *, restarts: int = 3
) -> int:
    """Train with `num_workers` processes, and return the exit status of the training.

    Args:
        arguments: of `retinanet train`, without --output.
        output: the run directory; one that holds a run is resumed.
        restarts: how often the cluster is started again after a worker's death.
    """
    is_stopping = threading.Event()
    workers: list[subprocess.Popen] = []

    def forward(number: int, _frame: object) -> None:
        is_stopping.set()
        for worker in workers:
            worker.send_signal(number)

    before = {n: signal.signal(n, forward) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        for attempt in range(restarts + 1):
            new_run = [*arguments, "--output", str(output)]
            is_begun = (output / "run.json").is_file()
            command = ["--resume", str(output)] if is_begun else new_run
            workers[:] = _start(num_workers, command)
            status = _wait(workers)
            if status in FINAL_STATUSES or is_stopping.is_set():
                return status
            left = restarts - attempt
            print(f"cluster: a worker ended with {status}; restarts left: {left}", flush=True)
        return status
    finally:
        _kill(workers)
        for number, handler in before.items():
            signal.signal(number, handler)


def cluster_environment(num_workers: int) -> list[dict[str, str]]:
    """Return for each worker the variable TF_CONFIG of a cluster on free ports of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(num_workers)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return [
        {
            "TF_CONFIG": json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            )
        }
        for index in range(num_workers)
    ]


def _start(num_workers: int, arguments: Sequence[str]) -> list[subprocess.Popen]:
    workers = []
    for index, variables in enumerate(cluster_environment(num_workers)):
        worker = subprocess.Popen(
            [sys.executable, "-m", "keras_retinanet.cli", "train", *arguments],
            env={**os.environ, **variables, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches them by `forward`, once
        )
        threading.Thread(target=_copy_lines, args=(worker, index), daemon=True).start()
        workers.append(worker)
    return workers


def _copy_lines(worker: subprocess.Popen, index: int) -> None:
    for line in worker.stdout or ():
        print(f"[worker {index}] {line}", end="", flush=True)


def _wait(workers: list[subprocess.Popen]) -> int:
    """Return the status of the first worker that failed, or 0 when all are done."""
    first: int | None = None
    deadline = float("inf")
    while any(worker.poll() is None for worker in workers):
        failed = [w.returncode for w in workers if w.returncode not in (None, 0)]
        if failed and first is None:
            first, deadline = failed[0], time.monotonic() + GRACE_SECONDS
        if time.monotonic() > deadline:
            _kill(workers)
        time.sleep(POLL_SECONDS)
    failed = [worker.returncode for worker in workers if worker.returncode != 0]
    return first if first is not None else failed[0] if failed else 0


def _kill(workers: list[subprocess.Popen]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="local_cluster", description="Train with several workers on this machine."
    )
    parser.add_argument("workers", type=int, metavar="N", help="number of workers")
    parser.add_argument("--output", type=Path, required=True, help="run directory")
    parser.add_argument("--restarts", type=int, default=3, help="after a worker's death")
    options, arguments = parser.parse_known_args()
    if options.workers < 1:
        parser.error(f"N must be 1 or more, not {options.workers}")
    return run_cluster(options.workers, arguments, options.output, restarts=options.restarts)


if __name__ == "__main__":
    sys.exit(main())
