"""From an evaluation, or a finished run, on the command line to its report."""

import csv
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_retinanet import __version__
from keras_retinanet.system.buckets.bucket_address import told


def prepare_report() -> None:
    """Load what a report takes: in a thread, it costs no time while a network runs."""
    from keras_retinanet.reports.evaluation_report.evaluation_page import get_ready

    get_ready()


def write_evaluation_report(
    evaluator: Any,
    folder: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    history: Sequence[Mapping[str, str]] = (),
    model: Any = None,
    folder_of_model: Path | None = None,
) -> Path:
    """Write report.html of an evaluation, and return its path.

    Args:
        evaluator: a `CocoEvaluator` with all detections.
        facts: by name, beside the versions and the data.
        history: the rows of a training's metrics.csv.
        model: with anchors, which are compared with the objects; None where they are not known.
        folder_of_model: where a training's files are told of, if it is a run's.
    """
    from keras_retinanet.data.checks.anchor_recall import anchor_recall
    from keras_retinanet.reports.evaluation_report.evaluation_page import write_report
    from keras_retinanet.reports.evaluation_report.measured import Measured
    from keras_retinanet.system.memory import peak_process_memory

    measured = Measured.of(evaluator)
    dataset = evaluator.dataset
    facts = {
        **facts,
        "measured on": dataset.fingerprint(),
        "findings in these data": str(len(dataset.findings)),
        "memory": f"{peak_process_memory() / 1e6:,.0f} MB at most, in this process",
        "versions": versions(),
    }
    recall = None
    if model is not None and model.tiling.size is None:  # of whole images
        recall = anchor_recall(
            dataset, anchor_generator=model.anchor_generator, input_policy=model.input_policy
        )
    return write_report(
        measured,
        folder,
        title=title,
        facts=facts,
        command=this_command(),
        history=history,
        recall=recall,
        details={} if folder_of_model is None else _run_details(folder_of_model),
    )


def _run_details(run: Path) -> dict[str, str]:
    """Return what a run's folder says of how it was made, by title; nothing of another folder."""
    from keras_retinanet.training.runs.run_directory import CONFIG_FILE, is_run

    if not is_run(run):  # its files may be of anything
        return {}
    titles = {CONFIG_FILE: "Settings of the training", "environment.json": "Where it was trained"}
    return {
        title: (run / name).read_text(encoding="utf-8")
        for name, title in titles.items()
        if (run / name).is_file()
    }


def versions() -> str:
    """Return the versions of what measures."""
    import keras
    import tensorflow as tf

    return (
        f"keras_retinanet {__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )


def this_command() -> str:
    """Return the command that is being run, as it can be typed again."""
    return shlex.join(["retinanet", *sys.argv[1:]])


def write_run_report(run: Path, model: Any, val_set: Any) -> Path | None:
    """Write report.html of a run's best model into its folder; None if it was not evaluated.

    Args:
        model: of the run, with any weights: its classes and anchors are the best model's.
        val_set: the validation split that the run was evaluated on.
    """
    from keras_retinanet.evaluation.evaluate import CocoEvaluator
    from keras_retinanet.training.runs.run_directory import (
        BEST_DETECTIONS_FILE,
        BEST_MODEL_FILE,
        CONFIG_FILE,
    )

    detections = run / BEST_DETECTIONS_FILE
    if not detections.is_file():
        return None
    results = json.loads(detections.read_text(encoding="utf-8"))
    evaluator = CocoEvaluator.of_results(val_set.with_classes(model.class_names), results)
    with open(run / "metrics.csv", encoding="utf-8", newline="") as file:
        history = list(csv.DictReader(file))
    facts = {
        "model": told(str(run / BEST_MODEL_FILE)),
        "settings": told(str(run / CONFIG_FILE)),
        "epochs": history[-1]["epoch"] if history else "0",
        "seconds": history[-1].get("seconds", "") if history else "",
    }
    return write_evaluation_report(
        evaluator,
        run,
        title=f"{run.name}: the best model",
        facts=facts,
        history=history,
        model=model,
        folder_of_model=run,
    )
