"""`retinanet reproduce`: the paper's experiments and figures."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_retinanet.cli.arguments import (
    AsJson,
    OptionalData,
    OptionalKerasModel,
    Overrides,
    Split,
    keras_file,
    output_folder,
)
from keras_retinanet.cli.console import described_dataset, out, tell
from keras_retinanet.config.yaml_files import did_you_mean
from keras_retinanet.errors import ConfigError
from keras_retinanet.paper.experiment import Scale, experiment_names, load_experiment

SCALES: dict[str, Scale] = {"paper": "paper", "quick": "quick"}
EXPERIMENTS = sorted([*experiment_names(), "figure-1", "figure-4"])


def reproduce(
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT", help=f"{', '.join(EXPERIMENTS)}, or a YAML file like theirs."
        ),
    ],
    output: Annotated[
        Path, output_folder("Folder; an experiment that was stopped there continues.")
    ],
    overrides: Overrides = None,
    data: OptionalData = None,
    scale: Annotated[
        str, typer.Option(help="paper, or quick: small networks, images and schedules.")
    ] = "paper",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per row, with different seeds.")] = 1,
    model: OptionalKerasModel = None,
    split: Split = "val",
    as_json: AsJson = False,
) -> None:
    """Run an experiment of the paper: its table next to ours, or one of its figures.

    Tables and figure-2 train one model for each row, with KEY=VALUE changed in all; they and
    figure-4, which shows --model on a --split, need --data. figure-1 needs neither.
    """
    if scale not in SCALES:
        raise ConfigError(f"--scale {scale}: {did_you_mean(scale, list(SCALES))}")
    if experiment == "figure-1":
        _figure_1(output)
        files = ["figure-1.png"]
    elif data is None:
        raise ConfigError(f"{experiment} needs a data set: give --data DATA.yaml")
    elif experiment == "figure-4":
        _figure_4(output, data, split, model)
        files = ["figure-4.png"]
    else:
        _rows(experiment, output, data, scale, seeds, overrides or [])
        files = ["table.md", "table.csv", "plot.png"]
    tell({"experiment": experiment, "written": [output / name for name in files]})


def _figure_1(output: Path) -> None:
    from keras_retinanet.paper.plots import draw_focal_loss

    output.mkdir(parents=True, exist_ok=True)
    draw_focal_loss(output / "figure-1.png")
    out.print(f"{output / 'figure-1.png'}")


def _figure_4(output: Path, data: str, split: str, model: Path | None) -> None:
    if model is None:
        raise ConfigError("figure-4 shows a trained model: give --model RUN")
    from keras_retinanet.detection.model_files import load_model
    from keras_retinanet.paper.loss_distribution import sample_probabilities
    from keras_retinanet.paper.plots import draw_loss_distribution

    loaded = load_model(keras_file(model))
    dataset = described_dataset(data, split)
    positives, negatives = sample_probabilities(loaded, dataset)
    if not len(positives):
        raise ConfigError(f"no anchor matches an object of the split {split!r}: nothing to show")
    output.mkdir(parents=True, exist_ok=True)
    draw_loss_distribution(positives, negatives, output / "figure-4.png")
    out.print(
        f"{len(positives)} foreground and {len(negatives)} background examples: "
        f"{output / 'figure-4.png'}"
    )


def _rows(name: str, output: Path, data: str, scale: str, seeds: int, overrides: list[str]) -> None:
    experiment = load_experiment(name)
    from keras_retinanet.paper.runner import run_experiment

    train_set, val_set = described_dataset(data, "train"), described_dataset(data, "val")
    run_experiment(
        experiment,
        train_set,
        val_set,
        output,
        scale=SCALES[scale],
        overrides=tuple(overrides),
        num_seeds=seeds,
        data_name=str(data),
        say=out.print,
        progress=sys.stdout.isatty(),
    )
    out.print((output / "table.md").read_text(encoding="utf-8"), markup=False)
    out.print(f"{output / 'table.md'}, {output / 'table.csv'}, {output / 'plot.png'}")
