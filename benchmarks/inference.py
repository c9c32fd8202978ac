"""Inference on the CPU, decoded image to boxes: our exports against the Keras model and peers.

R50, 80 classes, 512 px, batch 1, random weights with the prior of an untrained detector (few
detections). Candidates take turns, each in a process of its own that is stopped while others run.
Those whose package is missing are named and left out; --peer-python names the interpreter of
another environment that has torchvision. bfloat16 is only fast on CPUs with AMX; the machine's line
says whether this one has it.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import measure
import processes

OURS = "SavedModel float32"
NETWORK = "network alone"
# By what is printed, the names in inference_worker.py.
CANDIDATES = {
    OURS: "saved_model",
    NETWORK: "network",
    "Keras model with variables": "keras",
    "SavedModel bfloat16": "saved_model_bfloat16",
    "OpenVINO float32": "openvino",
    "torchvision compiled network": "torchvision",
}


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--bfloat16", action="store_true", help="measure bfloat16, too")
    parser.add_argument("--no-peer", action="store_true", help="leave out OpenVINO and torchvision")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--peer-import-first", help="a module that makes torchvision importable")
    parser.add_argument("--folder", type=Path, help="of exports made by an earlier run")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        prepare(options, folder)
        workers = {name: worker(options, folder, name) for name in chosen(options)}
        with processes.taking_turns(workers, rounds=options.rounds):
            for each in workers.values():
                each.finish()
    for name, each in workers.items():
        if each.failed:
            print(f"{name} left out: {each.failed}")
    if workers[OURS].failed:
        sys.exit(f"inference.py: {OURS} failed, and everything is compared with it")
    result = results(workers)
    for name, figures in result.items():
        print(line(name, figures))
    if NETWORK in result:
        share = 1 - result[NETWORK]["cpu_ms"] / result[OURS]["cpu_ms"]
        print(f"post-processing and scaling: {100 * share:.1f} % of the CPU time")
        result["share_of_postprocessing"] = share
    measure.finish(result, options.json)


def chosen(options: argparse.Namespace) -> list[str]:
    left_out = set() if options.bfloat16 else {"saved_model_bfloat16"}
    if options.no_peer:
        left_out |= {"openvino", "torchvision"}
    return [name for name, candidate in CANDIDATES.items() if candidate not in left_out]


def prepare(options: argparse.Namespace, folder: Path) -> None:
    """Write the model and its exports, in a process of its own as everything else."""
    exports = ["float32", *(() if options.no_peer else ("raw",))]
    exports += ["bfloat16"] if options.bfloat16 else []
    command = processes.script(
        sys.executable, "inference_worker.py", candidate="prepare", **settings(options, folder)
    )
    making = processes.Worker([*command, "--exports", *exports])
    with processes.taking_turns({"prepare": making}, rounds=0):
        making.finish()
    if making.failed:
        sys.exit(f"inference.py: the exports cannot be made: {making.failed}")


def worker(options: argparse.Namespace, folder: Path, name: str) -> processes.Worker:
    candidate = CANDIDATES[name]
    given, python = settings(options, folder), sys.executable
    if candidate == "torchvision":
        python = options.peer_python
        if options.peer_import_first:
            given["import-first"] = options.peer_import_first
    command = processes.script(python, "inference_worker.py", candidate=candidate, **given)
    return processes.Worker(command)


def settings(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    return {
        "folder": folder,
        "backbone": options.backbone,
        "size": options.size,
        "classes": options.classes,
    }


def results(workers: dict[str, processes.Worker]) -> dict[str, dict[str, Any]]:
    """Return the figures of each candidate that has not failed."""
    ours = workers[OURS].seconds
    found = {}
    for name, each in workers.items():
        if each.failed:
            continue
        # Of each round by itself: a shared machine's speed drifts.
        ratios = [a / b for a, b in zip(ours, each.seconds, strict=True)]
        found[name] = {
            **{key: 1000 * value for key, value in measure.spread(each.seconds).items()},
            "cpu_ms": 1000 * measure.spread(each.cpu_seconds)["median"],
            "ours_to_this": measure.spread(ratios),
            "ours_to_this_of_minima": min(ours) / min(each.seconds),
        }
    return found


def line(name: str, figures: dict[str, Any]) -> str:
    ratios = figures["ours_to_this"]
    return (
        f"{name:>30}: median {figures['median']:8.1f} ms (min {figures['min']:.1f}), "
        f"CPU {figures['cpu_ms']:8.1f} ms; {OURS} takes {ratios['median']:.2f} of it "
        f"({ratios['min']:.2f} to {ratios['max']:.2f}), "
        f"{figures['ours_to_this_of_minima']:.2f} of minima"
    )


if __name__ == "__main__":
    main()
