"""The score to trust of each class, measured at the end of a training and saved with its model."""

import dataclasses
import json
from pathlib import Path

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.detection.predict import MIN_SCORE
from keras_retinanet.evaluation.analysis.thresholds import operating_points
from keras_retinanet.evaluation.evaluate import CocoEvaluator
from keras_retinanet.models.saving import copy_for_inference, save_model


def best_thresholds(evaluator: CocoEvaluator) -> tuple[float, ...]:
    """Return each class's score with the best F1 (IoU 0.5); MIN_SCORE where none is right."""
    every = (operating_points(matches) for matches in evaluator.matches)
    return tuple(MIN_SCORE if p.best is None else float(p.scores[p.best]) for p in every)


def save_best_thresholds(
    model_file: Path, detections_file: Path, val_set: DetectionDataset
) -> tuple[float, ...]:
    """Save each class's best threshold into a .keras file, and return them.

    Args:
        detections_file: what that model found in `val_set`, as COCO results.
    """
    model = load_model(model_file)
    results = json.loads(detections_file.read_text(encoding="utf-8"))
    thresholds = best_thresholds(CocoEvaluator.of_results(val_set, results))
    inference = dataclasses.replace(model.inference, thresholds=thresholds)
    save_model(copy_for_inference(model, inference=inference), model_file)
    return thresholds
