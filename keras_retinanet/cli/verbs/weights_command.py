"""retinanet weights: models of other projects, brought here."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from keras_retinanet.cli.arguments import AsJson
from keras_retinanet.cli.console import err, out, plain, tell
from keras_retinanet.errors import ConfigError
from keras_retinanet.system.buckets.bucket_address import address_of
from keras_retinanet.system.buckets.incoming import fetched

app = typer.Typer(help="List, download and import weights of other projects.", no_args_is_help=True)


@app.command("list")
def list_published(as_json: AsJson = False) -> None:
    """List the weights that `fetch`, `model.init_from` and `model.weights` know by name."""
    from rich.table import Table

    from keras_retinanet.weights.published import published_weights

    table = Table("name", "network", "AP", "MB", "checksum", "licence")
    table.columns[0].no_wrap = True  # it is what one types
    for entry in published_weights().values():
        kind, _, digits = (entry.checksum or "none").partition(":")
        table.add_row(
            entry.name,
            entry.network,
            "" if entry.ap is None else f"{entry.ap:.1f}",
            "" if entry.num_bytes is None else f"{entry.num_bytes / 1e6:.0f}",
            "by hand" if entry.by_hand else f"{kind} {digits[:8]}".rstrip(),
            entry.licence,
        )
    out.print(table)
    tell({entry.name: asdict(entry) for entry in published_weights().values()})


@app.command("fetch")
def fetch_published(
    name: Annotated[str, typer.Argument(help="A name that `retinanet weights list` shows.")],
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            envvar="KERAS_RETINANET_MIRROR",
            help="Server that has the file, instead of the project's own.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download and verify a file of weights; an interrupted download is resumed.

    It is saved in keras_retinanet/ in KERAS_HOME (~/.keras).
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from keras_retinanet.weights.fetch import fetch
    from keras_retinanet.weights.published import find_published

    entry = find_published(name)
    columns = (TextColumn(entry.file_name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=entry.num_bytes)
        path = fetch(
            entry,
            mirror=mirror,
            progress=lambda there, total: bar.update(task, completed=there, total=total),
        )
    out.print(plain(str(path)))
    tell({"file": path, "checksum": entry.checksum})
    verified = f"verified by its {entry.checksum}" if entry.checksum else "which nothing verifies"
    out.print(f"{entry.network}, {entry.licence}, {verified}")


@app.command("import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            help="A .pth, .pkl, .safetensors, .h5 or .keras file, a preset's folder, a checkpoint."
        ),
    ],
    output: Annotated[Path, typer.Option(help="The .keras file to write.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="torchvision, detectron2, mmdetection, fizyr, keras-hub, model-garden, or auto: "
            "recognised.",
        ),
    ] = "auto",
    class_names: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Class names, if they are not COCO's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a model from a weights file; its detections are those of the original project.

    The file is read without running anything that is in it.
    """
    if (address := address_of(output)) is not None:
        raise ConfigError(f"--output {address}: name a local file, and copy it into the bucket")
    file = fetched(file)
    if output.suffix != ".keras":
        raise ConfigError(f"--output {output}: name a file that ends in .keras")
    if output.exists():
        raise ConfigError(f"{output} is there already: name another file, or remove it")
    if not output.parent.is_dir():
        raise ConfigError(f"there is no folder {output.parent}: make it first")
    from keras_retinanet.weights.files.read_arrays import weights_exist

    if not weights_exist(file):
        raise ConfigError(f"there is no file {file}")

    from keras_retinanet.models.saving import save_model
    from keras_retinanet.weights.import_weights import import_weights

    names = None if class_names is None else [name.strip() for name in class_names.split(",")]
    imported = import_weights(file, source=source, class_names=names)
    save_model(imported.model, output)
    out.print(f"{imported.description}, {imported.model.num_classes} classes")
    out.print(
        f"{imported.num_arrays} arrays with {imported.num_values:,} values were taken"
        + (f", {len(imported.left_out)} that are no weights left out" if imported.left_out else "")
    )
    for remark in imported.remarks:
        out.print(plain(remark))
    tell(
        {
            "model": output,
            "source": imported.description,
            "classes": imported.model.num_classes,
            "left_out": list(imported.left_out),
            "remarks": list(imported.remarks),
        }
    )
    out.print(f"written to {output}")
