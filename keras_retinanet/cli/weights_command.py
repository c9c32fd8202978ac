"""retinanet weights: models of other projects, brought here."""

from pathlib import Path
from typing import Annotated

import typer

from keras_retinanet.cli.console import out
from keras_retinanet.errors import ConfigError

app = typer.Typer(help="Bring the weights of other projects.", no_args_is_help=True)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A .pth, .pkl, .safetensors or .h5 file.")],
    output: Annotated[Path, typer.Option(help="The .keras file to write.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="torchvision, detectron2, mmdetection, fizyr, or auto: by what is in it.",
        ),
    ] = "auto",
    class_names: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Of a file whose classes are not COCO's."),
    ] = None,
) -> None:
    """Make a model of a weights file: the same detections as in the project it comes from.

    The file is read without running anything that is in it.
    """
    if output.suffix != ".keras":
        raise ConfigError(f"--output {output}: name a file that ends in .keras")
    if output.exists():
        raise ConfigError(f"{output} is there already: name another file, or remove it")
    if not output.parent.is_dir():
        raise ConfigError(f"there is no folder {output.parent}: make it first")
    if not file.is_file():
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
    out.print(f"written to {output}")
