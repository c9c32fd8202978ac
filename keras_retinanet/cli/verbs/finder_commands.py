"""The verb `find-batch`: the largest batch that fits."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from keras_retinanet.cli.arguments import AsJson, ConfigName, Data, Overrides
from keras_retinanet.cli.console import counted, out, tell
from keras_retinanet.config.load import load_config
from keras_retinanet.errors import UserError

if TYPE_CHECKING:
    from keras_retinanet.training.finders.batch_size import Try


def find_batch(
    config: ConfigName,
    data: Data,
    overrides: Overrides = None,
    memory_limit: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="GB that a process may use; default without a GPU: the free memory."
        ),
    ] = None,
    largest: Annotated[
        int | None, typer.Option(min=1, help="Largest size to try; default: all images.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the largest batch that fits into memory, by training steps at the largest image size."""
    settings = load_config(config, overrides or [])
    import tensorflow as tf

    from keras_retinanet.data.source import load_dataset
    from keras_retinanet.system.memory import free_memory
    from keras_retinanet.training.finders.batch_size import (
        make_trial,
        search_largest,
        try_batch_size,
    )

    devices = len(tf.config.list_physical_devices("GPU"))
    dataset = load_dataset(data, "train", decode_images=False)
    limit = None if memory_limit is None else round(memory_limit * 1e9)
    if limit is None and not devices:
        limit = free_memory()
    trial = make_trial(settings, dataset, 1)
    place = counted(devices, "GPU") if devices else "CPU"
    out.print(
        f"training steps at {trial.height} x {trial.width}, "
        f"{counted(trial.num_classes, 'class')}, on {place}"
        + (f", at most {limit / 1e9:.1f} GB" if limit is not None else "")
    )

    def attempt(size: int):
        found = try_batch_size(make_trial(settings, dataset, size), limit)
        out.print(f"  batch size {size}: " + ("fits" if found.fits else found.reason))
        return found

    best, tries = search_largest(
        attempt,
        step=max(1, devices) * settings.training.accumulate,
        largest=min(largest or len(dataset), len(dataset)),
    )
    _print_tries(tries)
    if best is None:
        raise UserError(
            "not even the smallest batch fits: lower image.size or image.max_size, or take a "
            "smaller model.backbone"
        )
    tell({"batch_size": best, "tries": [dataclasses.asdict(t) for t in tries]})
    out.print(f"training.batch_size={best}")


def _print_tries(tries: "list[Try]") -> None:
    table = Table("batch size", "", "peak memory", "a step", "images/s")
    for column in table.columns:
        column.justify = "right"
    for t in sorted(tries, key=lambda t: t.batch_size):
        if t.step_seconds is not None and t.peak_bytes is not None:
            rate = t.batch_size / t.step_seconds
            figures = f"{t.peak_bytes / 1e9:.2f} GB", f"{t.step_seconds:.3f} s", f"{rate:.2f}"
            table.add_row(str(t.batch_size), "fits", *figures)
        else:
            table.add_row(str(t.batch_size), t.reason, "", "", "")
    out.print(table)
