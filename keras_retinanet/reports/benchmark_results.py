"""benchmark.json, and AP against latency as a plot."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_retinanet.evaluation.benchmark import COLUMNS


def write_results(
    results: list[dict[str, Any]], folder: Path, machine: dict[str, Any]
) -> list[Path]:
    """Write benchmark.json, and with AP latency_ap.png; return the files.

    Args:
        machine: as `environment.describe_processor` returns it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "benchmark.json"]
    content = {"machine": machine, "results": results}
    files[0].write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
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
