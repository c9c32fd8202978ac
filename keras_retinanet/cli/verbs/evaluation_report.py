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


def write_evaluation_report(
    evaluator: Any,
    folder: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    history: Sequence[Mapping[str, str]] = (),
) -> Path:
    """Write report.html of an evaluation, and return its path.

    Args:
        evaluator: a `CocoEvaluator` with all detections.
        facts: by name, beside the versions and the data.
        history: the rows of a training's metrics.csv.
    """
    from keras_retinanet.reports.evaluation_report.evaluation_page import write_report
    from keras_retinanet.reports.evaluation_report.measured import Measured

    measured = Measured.of(evaluator)
    dataset = evaluator.dataset
    facts = {
        **facts,
        "measured on": dataset.fingerprint(),
        "findings in these data": str(len(dataset.findings)),
        "versions": versions(),
    }
    return write_report(
        measured, folder, title=title, facts=facts, command=this_command(), history=history
    )


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


def write_run_report(run: Path, val_set: Any) -> Path | None:
    """Write report.html of a run's best model into its folder; None if it was not evaluated.

    Args:
        val_set: the validation split that the run was evaluated on.
    """
    from keras_retinanet.detection.model_files import load_model
    from keras_retinanet.evaluation.evaluate import CocoEvaluator
    from keras_retinanet.training.runs.run_directory import (
        BEST_DETECTIONS_FILE,
        BEST_MODEL_FILE,
        CONFIG_FILE,
    )

    detections = run / BEST_DETECTIONS_FILE
    if not detections.is_file():
        return None
    class_names = load_model(run / BEST_MODEL_FILE).class_names
    results = json.loads(detections.read_text(encoding="utf-8"))
    evaluator = CocoEvaluator.of_results(val_set.with_classes(class_names), results)
    with open(run / "metrics.csv", encoding="utf-8", newline="") as file:
        history = list(csv.DictReader(file))
    facts = {
        "model": str(run / BEST_MODEL_FILE),
        "settings": str(run / CONFIG_FILE),
        "epochs": history[-1]["epoch"] if history else "0",
        "seconds": history[-1].get("seconds", "") if history else "",
    }
    return write_evaluation_report(
        evaluator, run, title=f"{run.name}: the best model", facts=facts, history=history
    )
