"""Thresholds of a model: the score of each class with the best F1, saved and read again."""

import json

import numpy as np
import pytest

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.evaluation.evaluate import CocoEvaluator
from keras_retinanet.models.saving import save_model
from keras_retinanet.training.best_thresholds import best_thresholds, save_best_thresholds

BOX, OTHER, NOTHING = [10, 10, 40, 40], [50, 10, 90, 50], [5, 45, 15, 58]


@pytest.fixture
def evaluator():
    """Three cats, of which the best two scores find two; dogs that nothing finds; no birds."""
    num_images = 3
    boxes = np.array([BOX, OTHER] * num_images, np.float32)
    dataset = DetectionDataset(
        image_paths=[f"{i}.png" for i in range(num_images)],
        image_ids=list(range(num_images)),
        heights=np.full(num_images, 60),
        widths=np.full(num_images, 100),
        row_splits=np.arange(num_images + 1) * 2,
        boxes=boxes,
        labels=np.array([0, 1] * num_images, np.int32),
        is_ignored=np.zeros(len(boxes), bool),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        class_names=("cat", "dog", "bird"),
        category_ids=(1, 2, 3),
    )
    evaluator = CocoEvaluator(dataset)
    found = [
        [(BOX, 0, 0.75), (NOTHING, 1, 0.9)],
        [(BOX, 0, 0.5)],
        [(NOTHING, 0, 0.25)],
    ]
    for image, rows in enumerate(found):
        evaluator.add(
            image,
            {
                "boxes": np.array([row[0] for row in rows], float),
                "classes": np.array([row[1] for row in rows]),
                "scores": np.array([row[2] for row in rows]),
            },
        )
    return evaluator


def test_values(evaluator):
    # Of cats, F1 is 2 / 4 at 0.75, 4 / 5 at 0.5 and 4 / 6 at 0.25.
    assert best_thresholds(evaluator) == (0.5, 0.5, 0.5)


def test_they_are_saved_and_the_weights_stay(evaluator, make_tiny, tmp_path):
    model = make_tiny(channels=8, class_names=("cat", "dog", "bird"))
    save_model(model, tmp_path / "a.keras")
    (tmp_path / "found.json").write_text(json.dumps(evaluator.results))
    saved = save_best_thresholds(tmp_path / "a.keras", tmp_path / "found.json", evaluator.dataset)
    loaded = load_model(tmp_path / "a.keras")
    assert saved == loaded.inference.thresholds == (0.5, 0.5, 0.5)
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
