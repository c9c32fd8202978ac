"""`retinanet data check`, whole or one process' share, and what is told of a check."""

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_retinanet.cli.arguments import AsJson, Data, output_folder
from keras_retinanet.cli.console import counted, out, print_shard, tell
from keras_retinanet.cli.data_verbs.check_tables import (
    print_findings_table,
    print_statistics,
    progress_bar,
)
from keras_retinanet.cli.json_writer import LongList, write_json
from keras_retinanet.config.load import load_config
from keras_retinanet.errors import ConfigError
from keras_retinanet.system.atomic_files import whole_file
from keras_retinanet.system.shards.shard import Shard

SHARD_HELP = (
    "Read share I of N of the images (0/N to N-1/N) and write its part into --output; `retinanet "
    "merge` makes the report of the parts."
)


def check(
    data: Data,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split of the data set; may be repeated. Default: all."),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every image, and find lookalikes.")
    ] = False,
    config: Annotated[
        str | None, typer.Option(help="Config whose anchors are matched with every object.")
    ] = None,
    output: Annotated[Path | None, output_folder("Folder for check.json and plots as PNG.")] = None,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help=SHARD_HELP)] = None,
    as_json: AsJson = False,
) -> None:
    """Find all faults in a data set, with their locations, and count what is in it.

    Exit status: 0 if there are at most notes (handled on reading), 1 with warnings (something is
    left out of training, or harms it or its evaluation), 2 with errors (training would stop). Of a
    share: 0, since `retinanet merge` tells what was found.
    """
    if shard is not None:
        if output is None:
            raise ConfigError("--shard needs --output, the folder of the parts")
        if config is not None:
            raise ConfigError("anchors are matched when parts are merged: give --config to merge")
        _run_shard(data, split or [], decode, Shard.parse(shard), output)
        return
    from keras_retinanet.data.checks.check import check_dataset

    with progress_bar() as progress:
        report = check_dataset(
            data,
            split or (),
            decode=decode,
            measure_anchors=anchor_measure(config),
            progress=progress,
        )
    tell_check(report, output, as_json=as_json)


def merge_checks(
    parts: list[Path], data: str, config: str | None, output: Path | None, *, as_json: bool
) -> None:
    """Make the report of one process of the parts that `data check --shard` wrote."""
    from keras_retinanet.data.checks.shards.check_shard import merge_check

    with progress_bar() as progress:
        report = merge_check(parts, data, measure_anchors=anchor_measure(config), progress=progress)
    tell_check(report, output, as_json=as_json)


def anchor_measure(config: str | None) -> Any:
    """Return what tells how a config's anchors fit a split; None where it does not matter."""
    from keras_retinanet.training.setup.input_batches import make_anchor_recall

    settings = load_config(config) if config else None
    # An IoU that no anchor reaches matters only where IoUs decide.
    if settings is None or settings.anchors.matching != "iou":
        return None
    return functools.partial(make_anchor_recall, settings)


def tell_check(report: Any, output: Path | None, *, as_json: bool) -> None:
    """Print a report, write it where a folder is named, and end with its exit status."""
    from keras_retinanet.reports.dataset_plots import plot_statistics

    result = {
        **report.head(),
        "findings": LongList(report.entries),
        "statistics": report.statistics,
    }
    if as_json:
        tell(result)
    else:
        print_statistics(report.statistics)
        print_findings_table(report.entries())
        counts = ", ".join(counted(n, level) for level, n in reversed(result["counts"].items()))
        out.print(f"{counted(report.num_images, 'image')} read: {counts}")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        path = output / "check.json"
        with whole_file(path) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
            write_json(result, file)
        plots = plot_statistics(report.statistics, output)
        if not as_json:
            out.print(", ".join(str(each) for each in (path, *plots)))
    raise typer.Exit(report.exit_status)


def _run_shard(data: str, splits: list[str], decode: bool, shard: Shard, output: Path) -> None:
    """Write a shard's part, and say what was done."""
    from keras_retinanet.data.checks.shards.check_shard import check_shard

    with progress_bar() as progress:
        path, num_images = check_shard(
            data, splits, shard, output, decode=decode, progress=progress
        )
    tell({"part": path, "images": num_images})
    print_shard(shard, path, num_images, "read")
