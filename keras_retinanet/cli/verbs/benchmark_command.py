"""retinanet benchmark: latency, throughput and memory of models and exports, side by side."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from keras_retinanet.cli.arguments import (
    AsJson,
    Models,
    OptionalData,
    Split,
    model_file,
    output_folder,
)
from keras_retinanet.cli.console import out, plain, tell
from keras_retinanet.errors import ConfigError


def benchmark(
    models: Models,
    image_size: Annotated[
        list[str] | None,
        typer.Option(metavar="HxW", help="Sizes of the image files; default 480x640."),
    ] = None,
    batch_size: Annotated[
        list[int] | None, typer.Option(min=1, help="Images at once; 1 by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Batches measured.")] = 30,
    data: OptionalData = None,
    split: Split = "val",
    output: Annotated[
        Path | None, output_folder("Folder for benchmark.json and latency_ap.png.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure latency, throughput and peak memory, from image files to detections.

    The processor, its vector and matrix units and its cores are named first. With --data, AP is
    measured, too.
    """
    sizes = [_size(text) for text in image_size or ["480x640"]]
    from keras_retinanet.evaluation.benchmark import COLUMNS
    from keras_retinanet.evaluation.benchmark import benchmark as run
    from keras_retinanet.reports.benchmark_results import write_results
    from keras_retinanet.system.environment import describe_processor

    models = [model_file(model) for model in models]
    machine = describe_processor()
    out.print(plain(_machine(machine)))
    results = run(
        models,
        image_sizes=sizes,
        batch_sizes=batch_size or [1],
        rounds=rounds,
        data=None if data is None else Path(data),
        split=split,
        say=lambda line: out.print(plain(line)),
    )
    tell({"machine": machine, "results": results})
    # By number: nine columns of figures leave a terminal no room for paths.
    numbers = {str(model): str(number) for number, model in enumerate(models, 1)}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        row = {**result, "model": numbers[result["model"]]}
        table.add_row(*(_cell(key, row[key]) for key in COLUMNS))
    out.print(table)
    if output is not None:
        out.print(", ".join(map(str, write_results(results, output, machine))))


def _machine(machine: dict[str, Any]) -> str:
    units = ", ".join(machine["units"]) or "vector and matrix units not known"
    return f"{machine['processor']} ({units}), cores: {machine['cores']}"


def _cell(key: str, value: str | float | None) -> str:
    if value is None:
        return ""
    if key.endswith("_ms") or key.startswith("images_per_second"):
        return f"{value:.1f}"
    return f"{value:.4f}" if key == "AP" else str(value)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or "0" in match.groups():
        raise ConfigError(f"--image-size must be HEIGHTxWIDTH as in 480x640, not {text!r}")
    return int(match[1]), int(match[2])
