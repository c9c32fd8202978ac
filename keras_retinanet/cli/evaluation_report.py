"""From an evaluation on the command line to its report."""

import platform
import shlex
import sys
from pathlib import Path
from typing import Any

from keras_retinanet import __version__


def write_evaluation_report(
    evaluator: Any, folder: Path, *, model: Path, data: str, split: str, seconds: float
) -> Path:
    """Write report.html of a finished evaluation, and return its path.

    Args:
        evaluator: a `CocoEvaluator` with all detections.
        seconds: the evaluation took.
    """
    import keras
    import tensorflow as tf

    from keras_retinanet.reports.evaluation_report.evaluation_page import write_report
    from keras_retinanet.reports.evaluation_report.measured import Measured

    measured = Measured(
        dataset=evaluator.dataset,
        metrics=evaluator.metrics(),
        precisions=evaluator.precisions(),
        objects=evaluator.objects,
        found=evaluator.found,
        matches=evaluator.matches,
    )
    num_images = len(evaluator.dataset)
    facts = {
        "model": str(model),
        "data": f"{data}, {split}: {evaluator.dataset.fingerprint()}",
        "left out of the data": f"{len(evaluator.dataset.findings)} findings",
        "speed": f"{seconds / max(num_images, 1):.3f} s an image, start included",
        "versions": (
            f"keras_retinanet {__version__}, TensorFlow {tf.__version__}, Keras "
            f"{keras.__version__}, Python {platform.python_version()}"
        ),
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    return write_report(
        measured,
        folder,
        title=f"{model.stem} on {Path(data).name}, {split}",
        facts=facts,
        command=shlex.join(["retinanet", *sys.argv[1:]]),
    )
