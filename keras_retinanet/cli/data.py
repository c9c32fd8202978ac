"""The verbs of `retinanet data`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_retinanet.cli.console import out
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
