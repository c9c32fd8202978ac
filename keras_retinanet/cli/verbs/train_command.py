"""The verb train: a new run, or one that goes on."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_retinanet.cli.arguments import (
    AsJson,
    OptionalConfigName,
    OptionalData,
    Overrides,
    output_folder,
)
from keras_retinanet.cli.console import (
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    counted,
    describe,
    err,
    new_folder,
    out,
    plain,
    tell,
    usable_dataset,
)
from keras_retinanet.cli.verbs.evaluation_report import write_run_report
from keras_retinanet.cli.verbs.plan_command import planned_config
from keras_retinanet.config import own_images
from keras_retinanet.config.load import load_config, refuse_changes
from keras_retinanet.config.schema import Config
from keras_retinanet.errors import ConfigError, TrainingInterrupted, UserError
from keras_retinanet.system.buckets.outgoing import drop_all, outgoing, send_all


def train(
    config: OptionalConfigName = None,
    data: OptionalData = None,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, output_folder("New folder; by default runs/CONFIG-001, -002, ...")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Continue the run in this folder.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.5, help="Without a config: plan one for so many minutes, as `retinanet plan`."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train on the split "train", measuring AP on "val"; writes a run directory.

    Without a config, own_images is used, and the number of epochs follows the number of images;
    --minutes makes a config for the data, the machine and the time instead.
    SIGTERM and Ctrl-C save at the next step and end with exit status 75; --resume continues.
    """
    changes = list(overrides or [])
    if config is not None and "=" in config:  # without a config, the first setting is taken for one
        changes.insert(0, config)
        config = None
    if minutes is not None and (config is not None or resume is not None):
        raise ConfigError("--minutes plans a config: leave CONFIG out, or set schedule.length")
    if resume is not None:
        _resume(resume, [*([config] if config else []), *changes], data, output)
        return
    if data is None:
        raise ConfigError("train needs --data DATA for a new run, or --resume DIR")
    settings = load_config(config or own_images.NAME, changes)
    from keras_retinanet.system.workers import this_worker

    worker = this_worker()
    if worker.count > 1 and output is None:
        raise ConfigError("several workers need --output, a folder that all of them see")
    if minutes is not None:
        _run_planned(data, changes, minutes, output, num_workers=worker.count)
        return
    to_be_sized = changes if config is None else None
    if output is not None and not worker.is_chief:
        _run(settings, data, output, to_be_sized=to_be_sized)
        return
    with new_folder(output, Path("runs") / Path(config or own_images.NAME).stem) as folder:
        _run(settings, data, folder, to_be_sized=to_be_sized)


def _run_planned(
    data: str, changes: list[str], minutes: float, output: Path | None, *, num_workers: int
) -> None:
    """Plan a training, and train."""
    from keras_retinanet.training.runs.run_directory import PLAN_FILE

    if num_workers > 1:
        raise ConfigError(
            "--minutes plans for one machine: make a config with retinanet plan, and name it"
        )
    with new_folder(output, Path("runs") / "planned") as folder:
        plan = folder / PLAN_FILE
        planned = planned_config(data, changes, minutes=minutes, path=plan, target="server")
        try:
            _run(planned.config, data, folder)
        except BaseException:
            # A start that fails leaves nothing: not even the plan, if that is all there is.
            if list(folder.iterdir()) == [plan]:
                plan.unlink()
            raise


def _resume(folder: Path, changes: list[str], data: str | None, output: Path | None) -> None:
    wrong = [text for text in changes if "=" not in text]
    if wrong or data is not None or output is not None:
        given = wrong[0] if wrong else "--data" if data is not None else "--output"
        raise ConfigError(f"--resume takes all from the run, settings as KEY=VALUE aside: {given}")
    from keras_retinanet.training.runs.run_directory import CONFIG_FILE, read_run

    folder = outgoing(folder)
    run = read_run(folder)
    before = load_config(folder / CONFIG_FILE)
    settings = load_config(folder / CONFIG_FILE, changes)
    changed = refuse_changes(before, settings)
    if run.is_finished and not changed:
        out.print(f"{folder} is finished: nothing is left to do")
        tell({"run": folder})
        return
    for line in changed:
        out.print(plain(f"changed for what is left: {line}"))
    if run.data is None:
        raise ConfigError(f"{folder} was not started from the command line: resume it from Python")
    _run(settings, run.data, folder, resume=True)


def _run(
    settings: Config,
    data: str,
    output: Path,
    *,
    resume: bool = False,
    to_be_sized: list[str] | None = None,
) -> None:
    """Load the data, and train.

    Args:
        to_be_sized: without a config, the settings that were given: the others follow the data.
    """
    from keras_retinanet.data.source import absolute_name, how_to_split, split_names
    from keras_retinanet.system.workers import this_worker
    from keras_retinanet.training.strategies import make_strategy
    from keras_retinanet.training.train import train as run_training

    # Before anything else of TensorFlow: several workers and TPUs want that.
    make_strategy(settings.training.strategy, tpu=settings.training.tpu)
    is_chief = this_worker().is_chief
    decode = settings.training.check_images
    path = Path(data)
    train_set = usable_dataset(data, "train", decode_images=decode)
    val_set = None
    if "val" in split_names(path):
        val_set = usable_dataset(data, "val", decode_images=decode)
    if to_be_sized is not None:
        sized = own_images.settings_for(
            num_images=len(train_set),
            batch_size=settings.training.batch_size,
            has_val=val_set is not None,
        )
        settings = load_config(own_images.NAME, [*sized, *to_be_sized])
    if is_chief:
        if to_be_sized is not None:
            out.print(f"config: {own_images.NAME} (none was given; retinanet configs lists others)")
        describe("train", train_set)
        if val_set is not None:
            describe("val", val_set)
        else:
            err.print(
                "note: the data has no split val: no AP, and best.keras is the last model; to have "
                f"one: {plain(how_to_split(path))}"
            )
        out.print(f"run directory: {output}")
    with _leaving_together():
        model = run_training(
            settings,
            train_set,
            val_set,
            output,
            data=absolute_name(data),
            resume=resume,
            progress=sys.stdout.isatty(),
        )
        if is_chief:
            _summarize_run(output, model, train_set, val_set)


@contextlib.contextmanager
def _leaving_together() -> Iterator[None]:
    """With several workers, end the process after what is inside, as its end demands.

    Python's own way out waits, for minutes, until TensorFlow takes a worker that left before for
    dead.
    """
    from keras_retinanet.system.workers import this_worker

    if this_worker().count == 1:
        yield
        return
    status = 0
    try:
        yield
        send_all()
    except TrainingInterrupted as error:
        err.print(plain(str(error)))
        status = EXIT_INTERRUPTED
    except UserError as error:
        err.print(f"[bold red]error:[/] {plain(str(error))}")
        status = EXIT_USER_ERROR
    except BaseException:
        traceback.print_exc()
        status = 1
    drop_all()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _summarize_run(output: Path, model: Any, train_set: Any, val_set: Any) -> None:
    tell(
        {
            "run": output,
            "best_model": output / "best.keras",
            "last_model": output / "last.keras",
            "metrics": output / "metrics.csv",
        }
    )
    left_out = len({*train_set.findings, *(val_set.findings if val_set else ())})
    out.print(f"best model: {output / 'best.keras'}; last model: {output / 'last.keras'}")
    if val_set is not None:
        _report(output, model, val_set)
    out.print(f"metrics: {output / 'metrics.csv'}; TensorBoard: {output / 'tensorboard'}")
    if left_out:
        out.print(f"{counted(left_out, 'finding')} in the data: {output / 'data_findings.json'}")


def _report(output: Path, model: Any, val_set: Any) -> None:
    try:
        report = write_run_report(output, model, val_set)
    except UserError as error:  # the training is done and saved; the split val was another then
        err.print(f"[yellow]warning: no report: {plain(str(error))}[/]")
        return
    if report is not None:
        out.print(f"report: {report}")
