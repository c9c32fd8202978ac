"""The verbs `find-lr` and `find-batch`: a learning rate, and the largest batch that fits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from keras_retinanet.cli.arguments import ConfigName, Data, Overrides, output_folder
from keras_retinanet.cli.console import counted, err, new_folder, out, print_findings
from keras_retinanet.config.load import load_config
from keras_retinanet.config.schema import Config
from keras_retinanet.errors import ConfigError, UserError

if TYPE_CHECKING:
    from keras_retinanet.training.finders.batch_size import Try


def find_lr(
    config: ConfigName,
    data: Data,
    overrides: Overrides = None,
    start: Annotated[float, typer.Option(help="The first learning rate.")] = 1e-6,
    end: Annotated[float, typer.Option(help="The last one.")] = 1.0,
    steps: Annotated[int, typer.Option(min=10, help="Steps from the first to the last.")] = 100,
    output: Annotated[
        Path | None, output_folder("New folder; by default runs/find-lr-001, ...")
    ] = None,
) -> None:
    """Suggest a learning rate: steps at rising rates, until the loss diverges."""
    settings = load_config(config, overrides or [])
    if not 0 < start < end:
        raise ConfigError(f"--start {start:g} has to be above 0 and below --end {end:g}")
    with new_folder(output, Path("runs") / "find-lr") as folder:
        _search(settings, data, folder, start=start, end=end, steps=steps)


def _search(
    settings: Config, data: str, folder: Path, *, start: float, end: float, steps: int
) -> None:
    from keras_retinanet.data.source import load_dataset
    from keras_retinanet.training.finders.learning_rate import find_learning_rate, write_search
    from keras_retinanet.training.setup.memory_errors import memory_errors
    from keras_retinanet.training.setup.prepare import prepare

    dataset = load_dataset(data, "train", decode_images=False)
    print_findings(dataset.findings)
    setup = prepare(settings, dataset)
    with memory_errors(settings):
        search = find_learning_rate(setup.model, setup.batches(), start=start, end=end, steps=steps)
    if len(search.rates) < 2:
        raise UserError(
            f"the loss diverged at once, at a learning rate of {start:g}: lower --start"
        )
    # The config's rate may be one for another batch size.
    batch_size = settings.optimizer.learning_rate_batch_size
    scale = settings.training.batch_size / batch_size if batch_size else 1.0
    out.print(
        f"{len(search.rates)} steps from {search.rates[0]:.2g} to {search.rates[-1]:.2g}"
        + ("; then the loss diverged" if search.has_diverged else "")
    )
    out.print(
        f"suggestion: optimizer.learning_rate={search.suggestion / scale:.2g} ({search.rule}, "
        f"{search.rates[search.lowest]:.2g}; batches of {settings.training.batch_size})"
    )
    if search.remark:
        err.print(f"note: {search.remark}")
    out.print(", ".join(map(str, write_search(search, folder))))


def find_batch(
    config: ConfigName,
    data: Data,
    overrides: Overrides = None,
    memory_limit: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="GB that a process may take; without a GPU, what is free by default."
        ),
    ] = None,
    largest: Annotated[
        int | None, typer.Option(min=1, help="Try no more; by default the data set's images.")
    ] = None,
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
