"""Latency, throughput and memory of any model or export, each measured in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_retinanet.errors import UserError

# The keys of a measurement that make its line in a table, with their headings.
COLUMNS = {
    "model": "model",
    "image_size": "image",
    "batch_size": "batch",
    "min_ms": "ms: min",
    "median_ms": "median",
    "p95_ms": "p95",
    "images_per_second": "images/s",
    "peak_memory_mb": "peak MB",
    "AP": "AP",
}


def benchmark(
    models: Sequence[Path],
    *,
    image_sizes: Sequence[tuple[int, int]],
    batch_sizes: Sequence[int],
    rounds: int,
    data: Path | None = None,
    split: str = "val",
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Return a measurement for each model, image size (height, width) and batch size.

    Measured is the way from image files to detections, as `evaluate` and `predict` go it: the time
    from one batch's detections to the next one's, with files decoded in the background. Keys:
    those of COLUMNS and "cpu_ms", the processor time of all cores for a batch. Peak memory is that
    of the process up to the measurement, TensorFlow included; AP is there with `data`.

    Args:
        rounds: batches measured, after some that are not.

    Raises:
        UserError: a model cannot be loaded or run.
    """
    results = []
    for number, model in enumerate(models, 1):
        say(f"{number}: {model}")
        request = {
            "model": str(model),
            "image_sizes": list(image_sizes),
            "batch_sizes": list(batch_sizes),
            "rounds": rounds,
            "data": str(data) if data else None,
            "split": split,
        }
        results += _in_process(request)
    return results


def write_results(results: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Write benchmark.json, and with AP latency_ap.png; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "benchmark.json"]
    files[0].write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    points = [result for result in results if result["AP"] is not None]
    if points:
        files.append(folder / "latency_ap.png")
        draw_latency_ap(points, files[1])
    return files


def draw_latency_ap(results: list[dict[str, Any]], path: Path) -> None:
    """Draw AP against the median latency of an image, as the paper's figure 2."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    names = short_names([result["model"] for result in results])
    varying = [
        key for key in ("image_size", "batch_size") if len({result[key] for result in results}) > 1
    ]
    for number, (result, name) in enumerate(zip(results, names, strict=True), 1):
        latency, ap = result["median_ms"] / result["batch_size"], 100 * result["AP"]
        details = [f"{COLUMNS[key]} {result[key]}" for key in varying]
        axes.plot(latency, ap, "o", label=f"{number}: {', '.join([name, *details])}")
        axes.annotate(str(number), (latency, ap), (5, 5), textcoords="offset points")
    # Below: paths are long, and points lie close together.
    figure.legend(loc="outside lower left", fontsize=9)
    axes.margins(0.1)
    axes.set(xlabel="milliseconds an image (median)", ylabel="COCO AP")
    axes.grid(alpha=0.3)
    figure.savefig(path)


def short_names(models: Sequence[str]) -> list[str]:
    """Return the paths without the folders that all of them share; of one, its last two parts."""
    parts = [Path(model).parts for model in models]
    if len(set(parts)) == 1:
        return [str(Path(*each[-2:])) for each in parts]
    shared = 0
    while len({each[shared] for each in parts}) == 1:
        shared += 1
    return [str(Path(*each[shared:])) for each in parts]


def _in_process(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the worker: peak memory is a process's, and what one model has loaded stays loaded."""
    package = Path(__file__).parent.parent
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, "-m", "keras_retinanet.benchmark_worker"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        tail = (run.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{request['model']}: the measurement ended with {run.returncode}: {tail}")
    answer = json.loads(lines[-1])
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["results"]
