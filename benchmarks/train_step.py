"""Training steps: images/s, FLOP/s, their share of the device's peak, memory; beside torchvision's.

Runs on any Keras backend (KERAS_BACKEND=jax, torch, tensorflow) with what is installed for it: this
file and its workers need no TensorFlow.

    python benchmarks/train_step.py --backbones resnet50 resnet101 --sizes 640 800x1344 \\
        --batch-sizes auto --precisions float32 bfloat16

torchvision's RetinaNet takes turns with ours where it can be imported; --peer-python names the
interpreter of another environment that has it. What the detection loss costs is in loss_cost.py.
"""

import argparse
import itertools
import sys
from typing import Any

import measure
import processes

LARGEST_BATCH = 1024


def main() -> None:
    parser = measure.parser(__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["resnet50"])
    parser.add_argument("--sizes", nargs="+", default=["512"], help="SIDE or HEIGHTxWIDTH")
    parser.add_argument(
        "--batch-sizes",
        nargs="+",
        default=["2"],
        help="numbers, or auto: 1, 2, 4, ... till one fails",
    )
    parser.add_argument("--precisions", nargs="+", default=["float32"])
    parser.add_argument("--compile", choices=["auto", "yes", "no"], default="auto")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--no-peer", action="store_true", help="leave out torchvision")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--peer-compile", action="store_true", help="torch.compile for the peer")
    parser.add_argument("--peer-import-first", help="a module that makes torchvision importable")
    options = parser.parse_args()

    rows = []
    for backbone, size, precision in itertools.product(
        options.backbones, options.sizes, options.precisions
    ):
        for batch_size in batch_sizes(options.batch_sizes):
            row = measure_one(options, backbone, size, precision, batch_size)
            print(describe(row), flush=True)
            rows.append(row)
            if "failed" in row["ours"]:
                break
    measure.finish({"rows": rows}, options.json)


def batch_sizes(given: list[str]) -> list[int]:
    if given != ["auto"]:
        return [int(number) for number in given]
    return [2**power for power in range(LARGEST_BATCH.bit_length())]


def measure_one(
    options: argparse.Namespace, backbone: str, size: str, precision: str, batch_size: int
) -> dict[str, Any]:
    """Return what was measured of one configuration; "failed" in place of a worker's figures."""
    height, _, width = size.partition("x")
    settings = {
        "backbone": backbone,
        "height": height,
        "width": width or height,
        "batch-size": batch_size,
        "classes": options.classes,
        "precision": precision,
    }
    workers = {"ours": worker(sys.executable, "keras", compile=options.compile, **settings)}
    if not options.no_peer:
        first = options.peer_import_first
        workers["torchvision"] = worker(
            options.peer_python,
            "torchvision",
            compile="yes" if options.peer_compile else "no",
            **settings,
            **({"import-first": first} if first else {}),
        )
    with processes.taking_turns(workers, rounds=options.rounds):
        row = {**settings, **{name: figures(each, batch_size) for name, each in workers.items()}}
    ours, peer = row["ours"], row.get("torchvision", {})
    if "failed" not in ours:
        seconds = ours["seconds"]["median"]
        achieved = ours["flops_per_image"] * batch_size / seconds
        ours |= {"achieved_flops": achieved, "share_of_peak": achieved / ours["peak_flops"]}
        if "seconds" in peer:
            pairs = zip(workers["ours"].seconds, workers["torchvision"].seconds, strict=True)
            row["ratio"] = measure.spread([a / b for a, b in pairs])
            row["cpu_ratio"] = ours["cpu_seconds"]["median"] / peer["cpu_seconds"]["median"]
    return row


def worker(python: str, kind: str, **settings: Any) -> processes.Worker:
    return processes.Worker(processes.script(python, f"step_worker_{kind}.py", **settings))


def figures(worker: processes.Worker, batch_size: int) -> dict[str, Any]:
    """End a worker, and return its figures, or {"failed": why}."""
    facts = worker.finish()
    if worker.failed:
        return {"failed": worker.failed}
    return {
        "images_per_second": batch_size / measure.spread(worker.seconds)["median"],
        "seconds": measure.spread(worker.seconds),
        "cpu_seconds": measure.spread(worker.cpu_seconds),
        "warmup_seconds": worker.warmup_seconds,
        **facts,
    }


def describe(row: dict[str, Any]) -> str:
    name = (
        f"{row['backbone']}, {row['height']}x{row['width']}, {row['precision']}, "
        f"batch {row['batch-size']}"
    )
    parts = [f"{kind}: {_figures(row[kind])}" for kind in ("ours", "torchvision") if kind in row]
    if "ratio" in row:
        parts.append(
            f"ours / torchvision: {row['ratio']['median']:.2f} in time (median of pairs, "
            f"{row['ratio']['min']:.2f} to {row['ratio']['max']:.2f}), {row['cpu_ratio']:.2f} in "
            "CPU time"
        )
    return f"{name}\n  " + "\n  ".join(parts)


def _figures(worker: dict[str, Any]) -> str:
    if "failed" in worker:
        return f"failed: {worker['failed']}"
    text = (
        f"{worker['images_per_second']:.2f} images/s, {worker['seconds']['median']:.3f} s a step "
        f"(min {worker['seconds']['min']:.3f}, CPU {worker['cpu_seconds']['median']:.3f})"
    )
    peak = worker.get("device_bytes") or worker["process_bytes"]
    text += f", peak memory {peak / 2**30:.2f} GiB"
    if "peak_flops" in worker:
        text += (
            f", {worker['achieved_flops'] / 1e9:.0f} GFLOP/s = {worker['share_of_peak']:.0%} of "
            f"the {worker['peak_flops'] / 1e9:.0f} of a matrix product "
            f"({worker['backend']}, {worker['device']}, "
            f"{'compiled' if worker['compiled'] else 'not compiled'})"
        )
    return text


if __name__ == "__main__":
    main()
