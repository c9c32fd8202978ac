"""The verb plan: a config made for a data set, this machine and a time."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_retinanet.cli.arguments import AsJson, Data, Minutes, Overrides, Target, output_folder
from keras_retinanet.cli.console import err, out, plain, tell, usable_dataset
from keras_retinanet.errors import ConfigError

if TYPE_CHECKING:
    from keras_retinanet.training.planning.make_config import PlannedConfig


def plan(
    data: Data,
    overrides: Overrides = None,
    minutes: Minutes = 60,
    target: Target = "server",
    output: Annotated[
        Path | None, output_folder("Folder for plan.yaml; by default, the current one.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--time-again", help="Time steps anew, not as remembered.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a config for a data set, this machine and a time, each setting with its reason.

    A few training steps are timed, once for a data set and machine, and remembered. Settings that
    are given (KEY=VALUE) are kept. `retinanet train plan.yaml --data DATA` trains with it.
    """
    from keras_retinanet.training.runs.run_directory import PLAN_FILE

    path = (output or Path()) / PLAN_FILE
    if path.exists():
        raise ConfigError(f"{path} is there already: name another folder with --output")
    planned = planned_config(
        data, overrides or [], minutes=minutes, target=target, again=again, path=path
    )
    tell(
        {
            "config": path,
            "decisions": [dataclasses.asdict(decision) for decision in planned.decisions],
            "limits": planned.limits,
            "seconds": round(planned.length.seconds),
            "steps": planned.length.steps,
        }
    )
    out.print(f"config: {path}; train with: retinanet train {path} --data {plain(data)}")


def planned_config(
    data: str,
    overrides: list[str],
    *,
    minutes: float,
    target: str,
    path: Path,
    again: bool = False,
) -> "PlannedConfig":
    """Plan a training, print what was decided and why, and write it into a file."""
    from keras_retinanet.data.source import absolute_name, split_names
    from keras_retinanet.system.atomic_files import write_whole
    from keras_retinanet.training.planning.config_text import config_text
    from keras_retinanet.training.planning.make_config import plan_training
    from keras_retinanet.training.planning.resources import look_at_machine
    from keras_retinanet.training.planning.step_times import StepTimer

    train = usable_dataset(data, "train", decode_images=False)
    val = None
    if "val" in split_names(data):
        val = usable_dataset(data, "val", decode_images=False).with_classes(train.class_names)
    resources = look_at_machine()
    out.print(f"planning for {minutes:g} minutes on {plain(resources.device)}; timing a few steps")
    timer = StepTimer(absolute_name(data), train, resources, again=again)
    planned = plan_training(
        train,
        val,
        resources,
        minutes=minutes,
        time_steps=timer,
        target="edge" if target == "edge" else "server",
        overrides=overrides,
    )
    title = (
        f"Made by retinanet plan for {len(train):,} images of {Path(data).name}, "
        f"{minutes:g} minutes and {resources.device}."
    )
    text = config_text(planned.decisions, title=title, limits=planned.limits)
    out.print(plain(text))
    for limit in planned.limits:
        err.print(f"[yellow]note: {plain(limit)}[/]")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return planned
