"""The verb compare: trainings and evaluations beside each other."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from keras_retinanet.cli.arguments import AsJson, OptionalData, output_folder
from keras_retinanet.cli.console import err, out, plain, tell
from keras_retinanet.cli.verbs.evaluation_report import this_command, versions
from keras_retinanet.system.buckets.incoming import staged


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run directories, and folders that `evaluate --output` wrote: two or more.",
        ),
    ],
    output: Annotated[Path | None, output_folder("Folder for compare.html.")] = None,
    data: OptionalData = None,
    split: Annotated[
        str | None, typer.Option(help="Split of the data set, if it is another one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs and evaluations: AP and whether the difference is clear, classes, settings.

    --data and --split take the place of what they were measured on, where that has moved.
    """
    from keras_retinanet.reports.comparison.comparison_page import write_comparison
    from keras_retinanet.reports.comparison.contestant import DataSets, load_contestants
    from keras_retinanet.reports.comparison.differences import Comparison

    folders = [staged(folder) for folder in folders]
    comparison = Comparison(load_contestants(folders, DataSets(data, split)))
    _print_figures(comparison)
    _print_rows("Settings that differ", comparison.names, comparison.settings.items())
    for each in comparison.against_first:
        console = out if each.difference else err
        color = "yellow" if not each.difference else "bold"
        verdict = plain(each.verdict(comparison.names[0]))
        console.print(f"[{color}]{plain(each.name)}:[/] {verdict}")
    page = None
    if output is not None:
        page = write_comparison(
            comparison, output, facts={"versions": versions()}, command=this_command()
        )
        out.print(plain(str(page)))
    tell({**comparison.as_json(), "output": page})


def _print_figures(comparison: Any) -> None:
    """Print COCO's figures, and the classes that changed most."""
    from keras_retinanet.reports.comparison.differences import FIGURES

    contestants = comparison.contestants
    rows: list[tuple[str, list[str]]] = []
    for name in FIGURES:
        rows.append((name, [_figure(each.figure(name)) for each in contestants]))
        if name == "AP":
            intervals = [each.measured and each.measured.interval for each in contestants]
            texts = [f"{i[0]:.3f} to {i[1]:.3f}" if i else "n/a" for i in intervals]
            rows.append(("95 % interval", texts))
    _print_rows("COCO metrics", comparison.names, rows)
    classes = [(name, list(map(_figure, values))) for name, values in comparison.classes]
    _print_rows("AP per class", comparison.names, classes)


def _print_rows(title: str, names: list[str], rows: Any) -> None:
    table = Table("", *map(plain, names), title=title)
    for name, values in rows:
        table.add_row(plain(name), *map(plain, values))
    if table.rows:
        out.print(table)


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
