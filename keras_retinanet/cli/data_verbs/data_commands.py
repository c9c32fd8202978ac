"""The verbs of `retinanet data`."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from keras_retinanet.cli.arguments import DATA_HELP, AsJson, Data, Split, output_folder
from keras_retinanet.cli.console import (
    counted,
    describe,
    err,
    out,
    plain,
    print_findings,
    tell,
    writable,
)
from keras_retinanet.cli.data_verbs.check_command import check
from keras_retinanet.config.load import load_config
from keras_retinanet.errors import ConfigError, UserError
from keras_retinanet.system.shards.shard import Shard

app = typer.Typer(help="Check, show, split and convert data sets.", no_args_is_help=True)


# A part whose share of the images is off by more than this part of it is told.
MAX_DEVIATION = 0.25
# Of the shards that are not done.
MOST_NAMED = 10
SHARD_HELP = (
    "Write share I of N of the TFRecord files (0/N to N-1/N); the last process to end writes "
    "data.yaml."
)


class GroupsBy(str, enum.Enum):
    """What makes images stay in one split."""

    looks = "looks"
    bytes = "bytes"


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="New folder for images and annotations.")
    ],
    num_train: Annotated[int, typer.Option(min=1, help="Training images.")] = 320,
    num_val: Annotated[int, typer.Option(min=1, help="Validation images.")] = 80,
    seed: Annotated[int, typer.Option(help="A different seed makes a different set.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a small data set of drawn objects, in COCO's format."""
    from keras_retinanet.data.demo.demo import write_demo_dataset

    folder = writable(folder)
    try:
        path = write_demo_dataset(folder, num_train=num_train, num_val=num_val, seed=seed)
    except FileExistsError as error:
        raise UserError(str(error)) from error
    tell({"data": path})
    out.print(f"{num_train} training and {counted(num_val, 'validation image')}: {path}")


@app.command()
def convert(
    data: Data,
    to: Annotated[str, typer.Option(help="Format to write: coco, voc, yolo or tfrecord.")],
    output: Annotated[Path, output_folder("New folder, or that of an interrupted conversion.")],
    splits: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Splits to convert; by default all.")
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="TFRecord files per split; default: by size.")
    ] = None,
    link: Annotated[
        bool, typer.Option("--link/--copy", help="Link images instead of copying.")
    ] = False,
    check_images: Annotated[bool, typer.Option(help="Decode every image first.")] = True,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help=SHARD_HELP)] = None,
    as_json: AsJson = False,
) -> None:
    """Write a data set in another format; after an interruption, the same command continues."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from keras_retinanet.data.convert.convert import FINDINGS
    from keras_retinanet.data.convert.convert import convert as run_conversion

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
            shard=None if shard is None else Shard.parse(shard),
            on_progress=lambda count, total: bar.update(task, completed=count, total=total),
        )
    print_findings(done.findings)
    missing = [f"{each.index}/{each.count}" for each in done.missing]
    tell(
        {
            "data": done.data_yaml,
            "images": done.num_images,
            "boxes": done.num_boxes,
            "classes": done.num_classes,
            "findings": len(done.findings),
            **({"missing_shards": missing} if shard is not None else {}),
        }
    )
    kept = f" ({done.num_kept} were there before)" if done.num_kept else ""
    counts = f"{counted(done.num_images, 'image')}{kept}, {counted(done.num_boxes, 'box')}"
    if missing:
        named = ", ".join(missing[:MOST_NAMED]) + (", ..." if missing[MOST_NAMED:] else "")
        waiting = f"{counted(len(missing), 'shard')} of {done.missing[0].count} not done: {named}"
        out.print(f"shard {shard}: {counts}; {waiting}")
        return
    out.print(
        f"{to}: {counts} of {counted(done.num_classes, 'class')}: {plain(str(done.data_yaml))}"
    )
    if done.findings:
        out.print(f"{counted(len(done.findings), 'finding')}: {plain(str(output / FINDINGS))}")


@app.command()
def split(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="New folder for data.yaml and COCO files.")
    ],
    val: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the images for val; 0: no such split.")
    ] = 0.2,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of the images for test.")] = 0.0,
    split: Annotated[
        str | None,
        typer.Option(help="Split of the data set to divide. Default: the only one, or train."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="A different seed picks different images.")] = 0,
    groups: Annotated[
        GroupsBy, typer.Option(help="Keep similar images together, or only identical files.")
    ] = GroupsBy.looks,
    as_json: AsJson = False,
) -> None:
    """Split off val (and test), balanced by class, keeping similar images together.

    The images stay where they are, and no existing file is changed.
    """
    from keras_retinanet.data.convert.split_writer import FINDINGS, write_split

    folder = writable(folder)
    shares = {name: share for name, share in (("val", val), ("test", test)) if share}
    done = write_split(data, folder, shares=shares, divided=split, seed=seed, by=groups.value)
    print_findings(done.findings)
    for name, dataset in done.datasets.items():
        describe(name, dataset)
    images = {name: len(dataset) for name, dataset in done.datasets.items()}
    tell({"data": done.data_yaml, "images": images, "findings": len(done.findings)})
    total = sum(len(done.datasets[name]) for name in ("train", *shares))
    for name, share in shares.items():
        count, wanted = len(done.datasets[name]), share * total
        if abs(count - wanted) > max(1, MAX_DEVIATION * wanted):
            err.print(
                f"note: {name} has {count / total:.0%} of the images, not {share:.0%}: images "
                "that look alike, or classes that are rare, leave no better choice"
            )
    out.print(
        f"{counted(done.num_groups, 'group')} of images that stay together: "
        f"{plain(str(done.data_yaml))}"
    )
    if done.findings:
        out.print(f"{counted(len(done.findings), 'finding')}: {plain(str(folder / FINDINGS))}")


app.command()(check)


@app.command()
def show(
    data: Data,
    output: Annotated[Path, output_folder("Folder for sample.html and sample.png.")],
    split: Split = "train",
    count: Annotated[int, typer.Option(min=1, help="Images to show.")] = 16,
    augment: Annotated[
        str | None,
        typer.Option(help="Show training batches of this config, as the network sees them."),
    ] = None,
    anchors: Annotated[
        str | None, typer.Option(help="Show this config's anchors for each object.")
    ] = None,
    seed: Annotated[int, typer.Option(help="A different seed picks different images.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw a sample of a data set with its boxes: a page for the browser, and a picture."""
    if augment and anchors and augment != anchors:
        raise ConfigError("--augment and --anchors need the same config: batches hold its matches")
    named = augment or anchors
    settings = load_config(named) if named else None
    if anchors and settings is not None and settings.anchors.matching == "task_aligned":
        raise ConfigError(
            f"--anchors {anchors}: task-aligned matching chooses anchors by what a network "
            "predicts: there are none to show before it is trained"
        )
    from keras_retinanet.cli.data_verbs.data_sample import annotated_sample, network_sample
    from keras_retinanet.reports.contact_sheet import contact_sheet
    from keras_retinanet.reports.gallery_page import write_page

    if augment and settings is not None:
        sample = network_sample(data, split, count, seed, settings, with_anchors=bool(anchors))
    else:
        sample = annotated_sample(data, split, count, seed, settings)
    print_findings(sample.findings)
    output.mkdir(parents=True, exist_ok=True)
    page, sheet = output / "sample.html", output / "sample.png"
    title = f"{data}: {split}"
    tell({"images": len(sample.pictures), "written": [page, sheet]})
    write_page(sample.pictures, sample.class_names, page, title=title, notes=sample.notes)
    contact_sheet(sample.pictures, sample.class_names).save(sheet)
    missed = [p for p in sample.pictures if p.is_unmatched.any()]
    if anchors:
        number = sum(int(p.is_unmatched.sum()) for p in missed)
        out.print(
            f"{counted(number, 'object')} without an anchor, in {counted(len(missed), 'image')}"
        )
        for picture in missed:
            out.print(f"  {plain(picture.title)}: {int(picture.is_unmatched.sum())}")
    out.print(f"{counted(len(sample.pictures), 'image')}: {page}, {sheet}")
