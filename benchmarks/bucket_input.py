"""Images per second of the training pipeline, from an S3 server beside a local folder.

The server is moto's, in a process of its own on this machine, and takes its share of the same
cores, which is told: pip install s3fs "moto[server]". The data set is by default bccd in the folder
KERAS_RETINANET_DATA.

A round is, of the folder and of the server in turn: loading, which reads every image once, from
the server with nothing on the local disk; the first epoch; a later one. Then an epoch from the
server where nothing may be kept on the disk. With --latency, each request waits for so many
milliseconds before it is sent, as in a network.
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure
import psutil

NAME = "benchmark"
CPU = "CPU time"


def main() -> None:
    parser = measure.parser(__doc__)
    folder = Path(os.environ.get("KERAS_RETINANET_DATA", "../shared/data")) / "bccd"
    parser.add_argument("--data", type=Path, default=folder, help="folder; its split train is read")
    parser.add_argument("--size", type=int, default=640, help="side of the square input")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0, help="milliseconds before a request")
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(f"bucket_input.py: there is no folder {options.data}: name one with --data")
    with tempfile.TemporaryDirectory() as scratch, s3_server(Path(scratch)) as server:
        address = fill_bucket(options.data)
        wait_before_requests(options.latency / 1000)
        one_round(options, address, Path(scratch, "warm-up"), server)
        disks = [Path(scratch, str(i)) for i in range(options.rounds)]
        rounds = [one_round(options, address, disk, server) for disk in disks]
    result = {name: measure.spread([r[name] for r in rounds]) for name in rounds[0]}
    for name, rate in result.items():
        if name.startswith(CPU):
            print(f"{name:>40}: {rate['median']:6.1f} ms an image")
            continue
        spread = f"(min {rate['min']:.1f}, max {rate['max']:.1f})"
        print(f"{name:>40}: {rate['median']:6.1f} images/s {spread}")
    ratios = {}
    for name, base in (
        ("server, first epoch", "folder, first epoch"),
        ("server, load and first epoch", "folder, load and first epoch"),
        ("server, later epoch", "folder, later epoch"),
        ("server, nothing kept", "folder, later epoch"),
    ):
        ratios[name] = measure.spread([r[name] / r[base] for r in rounds])
        print(f"{name:>40}: {ratios[name]['median']:.2f} x {base}")
    settings = {"size": options.size, "batch_size": options.batch_size, "latency": options.latency}
    measure.finish({"images_per_second": result, "ratios": ratios, **settings}, options.json)


def one_round(
    options: argparse.Namespace, address: str, disk: Path, server: psutil.Process
) -> dict[str, float]:
    """Return images per second of each kind of pass, and CPU time."""
    from keras_retinanet.system.buckets import incoming

    os.environ["KERAS_RETINANET_BUCKETS"] = str(disk)
    rates = {}
    for name, data in (("folder", str(options.data)), ("server", address)):
        incoming.forget()
        start, cpu, served = time.perf_counter(), time.process_time(), cpu_seconds(server)
        dataset = load(data)
        loading = time.perf_counter() - start
        milliseconds = 1000 / len(dataset)
        rates[f"{CPU} of loading, {name}"] = milliseconds * (time.process_time() - cpu)
        if name == "server":
            rates[f"{CPU} of the server meanwhile"] = milliseconds * (cpu_seconds(server) - served)
        first = seconds_of_epoch(dataset, options)
        rates[f"{name}, load alone"] = len(dataset) / loading
        rates[f"{name}, first epoch"] = len(dataset) / first
        rates[f"{name}, load and first epoch"] = len(dataset) / (loading + first)
        rates[f"{name}, later epoch"] = len(dataset) / seconds_of_epoch(dataset, options)
    os.environ["KERAS_RETINANET_BUCKETS"] = str(disk) + "-nothing-kept"
    incoming.forget()
    incoming.staged(address)
    os.environ["KERAS_RETINANET_BUCKETS_GB"] = "0"
    dataset = load(address)
    rates["server, nothing kept"] = len(dataset) / seconds_of_epoch(dataset, options)
    del os.environ["KERAS_RETINANET_BUCKETS_GB"]
    return rates


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def load(data: str) -> Any:
    from keras_retinanet import load_dataset

    return load_dataset(data, "train")


def seconds_of_epoch(dataset: Any, options: argparse.Namespace) -> float:
    """Return the seconds to a pass' last batch, the start of its iterator included."""
    from keras_retinanet import AnchorGenerator, InputPolicy, TrainingPlan, training_batches

    plan = TrainingPlan(
        dataset.heights, dataset.widths, InputPolicy("square", options.size), options.batch_size
    )
    batches = training_batches(dataset, plan, anchor_generator=AnchorGenerator())
    start = time.perf_counter()
    count = sum(1 for _ in batches.take(len(dataset) // options.batch_size))
    seconds = time.perf_counter() - start
    if count != len(dataset) // options.batch_size:
        raise ValueError(f"an epoch has {count} batches")
    return seconds


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[psutil.Process]:
    """Run a server, and yield its process; the environment leads to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_DEFAULT_REGION="us-east-1",
    )
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with open(folder / "server.txt", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if server.poll() is not None:
                    sys.exit('bucket_input.py: no server: pip install "moto[server]"')
                time.sleep(0.1)
            yield psutil.Process(server.pid)
        finally:
            server.kill()
            server.wait()


def fill_bucket(folder: Path) -> str:
    import s3fs

    files = s3fs.S3FileSystem(use_listings_cache=False)
    files.mkdir(NAME)
    files.put(str(folder), f"{NAME}/set", recursive=True)
    return f"s3://{NAME}/set"


def wait_before_requests(seconds: float) -> None:
    from keras_retinanet.system.buckets import remote_files

    for name in ("find", "read", "download") if seconds else ():
        real = getattr(remote_files, name)

        def late(*arguments: Any, real: Any = real) -> Any:
            time.sleep(seconds)
            return real(*arguments)

        setattr(remote_files, name, late)


if __name__ == "__main__":
    main()
