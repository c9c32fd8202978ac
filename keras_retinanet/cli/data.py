"""The verbs of `retinanet data`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_retinanet.cli.console import err, out, plain, print_findings, quiet_import
from keras_retinanet.errors import UserError

app = typer.Typer(help="Data sets.", no_args_is_help=True)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="New folder for images and annotations.")],
    num_train: Annotated[int, typer.Option(min=1, help="Training images.")] = 320,
    num_val: Annotated[int, typer.Option(min=1, help="Validation images.")] = 80,
    seed: Annotated[int, typer.Option(help="Another seed makes another set.")] = 0,
) -> None:
    """Make a small data set of drawn objects, in COCO's format."""
    from keras_retinanet.data.demo import write_demo_dataset

    try:
        path = write_demo_dataset(folder, num_train=num_train, num_val=num_val, seed=seed)
    except FileExistsError as error:
        raise UserError(str(error)) from error
    out.print(f"{num_train} training and {num_val} validation images: {path}")


@app.command()
def convert(
    data: Annotated[str, typer.Option(help="YAML that names the data set's files.")],
    to: Annotated[str, typer.Option(help="Format to write: coco, voc, yolo or tfrecord.")],
    output: Annotated[Path, typer.Option(help="New folder, or that of an interrupted conversion.")],
    splits: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Splits to convert; by default all.")
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="TFRecord files of a split; by default by size.")
    ] = None,
    link: Annotated[bool, typer.Option("--link/--copy", help="Link the images?")] = False,
    check_images: Annotated[bool, typer.Option(help="Decode every image first?")] = True,
) -> None:
    """Write a data set in another format; the same command goes on after an interruption."""
    with quiet_import():
        from keras_retinanet.data.convert.runner import FINDINGS
        from keras_retinanet.data.convert.runner import convert as run_conversion
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress("images", *columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("images", total=None)
        done = run_conversion(
            data,
            output,
            target=to,
            splits=[s.strip() for s in splits.split(",")] if splits is not None else None,
            num_shards=shards,
            link=link,
            check_images=check_images,
            on_progress=lambda count, total: bar.update(task, completed=count, total=total),
        )
    print_findings(done.findings)
    kept = f" ({done.num_kept} were there before)" if done.num_kept else ""
    out.print(
        f"{to}: {done.num_images} images{kept}, {done.num_boxes} boxes of {done.num_classes} "
        f"classes: {plain(str(done.data_yaml))}"
    )
    if done.findings:
        out.print(f"{len(done.findings)} findings: {plain(str(output / FINDINGS))}")
