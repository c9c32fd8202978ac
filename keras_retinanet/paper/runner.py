"""Runs an experiment: trains and measures row after row; what is done stays done."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_retinanet.config.schema import Config
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.errors import ConfigError, TrainingDiverged
from keras_retinanet.evaluation.evaluate import evaluate, write_evaluation
from keras_retinanet.paper.experiment import (
    Experiment,
    Scale,
    folder_name,
    row_config,
    scale_note,
)
from keras_retinanet.paper.plots import draw_rows, draw_speed
from keras_retinanet.paper.speed import milliseconds_per_image
from keras_retinanet.paper.tables import RowResults, write_tables
from keras_retinanet.system.atomic_files import write_whole
from keras_retinanet.training.runs.run_directory import is_run
from keras_retinanet.training.train import train

RESULT = "result.json"
STATE = "experiment.json"


def run_experiment(
    experiment: Experiment,
    train_set: DetectionDataset,
    val_set: DetectionDataset,
    output: Path,
    *,
    scale: Scale = "paper",
    overrides: tuple[str, ...] = (),
    num_seeds: int = 1,
    data_name: str = "",
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> list[RowResults]:
    """Train and evaluate every row, and write table.md, table.csv and plot.png into `output`.

    Each training is a run directory, `output`/ROW/seed-N. Stopped at any time and called again, it
    leaves out the trainings that are done and resumes the one that was stopped at its newest
    checkpoint. The table is written after every training.

    A training that diverges is a result, and told as such.

    Raises:
        ConfigError: a row's settings do not fit; `output` holds another experiment.
    """
    configs = [row_config(experiment, row, scale, list(overrides)) for row in experiment.rows]
    _claim(output, experiment, configs, train_set, val_set)
    notes = [scale_note(scale)] if scale_note(scale) else []
    if overrides:
        notes.append(f"settings changed for all rows: {' '.join(overrides)}")
    if data_name:
        notes.append(f"data: {data_name}, {len(train_set)} training, {len(val_set)} val images")

    results = [RowResults(row, []) for row in experiment.rows]
    for seed in range(num_seeds):
        for row, config, collected in zip(experiment.rows, configs, results, strict=True):
            folder = output / folder_name(row.name) / f"seed-{seed}"
            result = _read_result(folder)
            if result is not None:
                say(f"{row.name}, seed {seed}: done before")
            else:
                is_begun = is_run(folder)
                if folder.exists() and not is_begun:
                    shutil.rmtree(folder)  # stopped before its first step
                doing = "was stopped; resuming it in" if is_begun else "training into"
                say(f"{row.name}, seed {seed}: {doing} {folder}")
                result = _run_row(
                    *(experiment, _with_seed(config, seed), train_set, val_set, folder),
                    resume=is_begun,
                    progress=progress,
                )
                say(f"{row.name}, seed {seed}: {_describe(result)}")
            collected.results.append(result)
            _write(experiment, results, notes, output)
    return results


def _run_row(
    experiment: Experiment,
    config: Config,
    train_set: DetectionDataset,
    val_set: DetectionDataset,
    folder: Path,
    *,
    resume: bool,
    progress: bool,
) -> dict[str, Any]:
    keras.backend.clear_session()  # the graphs of the row before
    try:
        # The paper measures the last model: choosing the best by the same split would flatter it.
        model = train(config, train_set, None, folder, resume=resume, progress=progress)
    except TrainingDiverged as error:
        result: dict[str, Any] = {"diverged": str(error)}
    else:
        metrics, detections = evaluate(model, val_set, batch_size=config.training.batch_size)
        write_evaluation(metrics, detections, folder / "evaluation")
        result = {name: metrics[name] for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
        if experiment.measure_speed:
            result["ms"] = milliseconds_per_image(model, val_set)
    write_whole(folder / RESULT, json.dumps(result, indent=1))  # only when all is done
    return result


def _read_result(folder: Path) -> dict[str, Any] | None:
    path = folder / RESULT
    return json.loads(path.read_text()) if path.is_file() else None


def _with_seed(config: Config, seed: int) -> Config:
    training = config.training.model_copy(update={"seed": seed})
    return config.model_copy(update={"training": training})


def _describe(result: dict[str, Any]) -> str:
    if "diverged" in result:
        return "diverged"
    return ", ".join(
        f"{name} {100 * result[name]:.1f}" if result[name] is not None else f"{name} n/a"
        for name in ("AP", "AP50", "AP75")
    )


def _claim(
    output: Path,
    experiment: Experiment,
    configs: list[Config],
    train_set: DetectionDataset,
    val_set: DetectionDataset,
) -> None:
    """Write down what `output` is for, or refuse it where it is for something else."""
    rows = {
        row.name: config.model_dump(mode="json")
        for row, config in zip(experiment.rows, configs, strict=True)
    }
    data = {"train": train_set.fingerprint(), "val": val_set.fingerprint()}
    state = {"title": experiment.title, "data": data, "rows": rows}
    path = output / STATE
    if path.is_file():
        difference = _first_difference(json.loads(path.read_text()), state)
        if difference:
            raise ConfigError(
                f"{output} holds results of another experiment: {difference}: name another --output"
            )
        return
    if output.exists() and any(output.iterdir()):
        raise ConfigError(f"--output {output} is not empty and holds no experiment: name another")
    output.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(state, indent=1))


def _first_difference(before: Any, now: Any, place: str = "") -> str:
    """Return where two JSON values differ, and how; "" where they are equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            inside = f"{place}{': ' if place else ''}{key}"
            difference = _first_difference(before.get(key), now.get(key), inside)
            if difference:
                return difference
        return ""
    return "" if before == now else f"{place} was {before!r} and is {now!r}"


def _write(
    experiment: Experiment, results: list[RowResults], notes: list[str], output: Path
) -> None:
    write_tables(experiment, results, notes, output)
    draw_rows(experiment, results, output / "plot.png", notes=notes)
    if experiment.measure_speed:
        draw_speed(experiment, results, output / "speed.png", notes=notes)
