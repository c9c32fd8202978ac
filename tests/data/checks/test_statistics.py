"""Figures of a data set, counted in blocks of images."""

import numpy as np
import pytest

from keras_retinanet.data.checks import statistics
from keras_retinanet.data.checks.statistics import describe_dataset
from keras_retinanet.data.dataset import DetectionDataset


@pytest.mark.parametrize("size", [1, 4, 100])
def test_objects_and_images_of_a_class(rng, monkeypatch, size):
    monkeypatch.setattr(statistics, "IMAGES_AT_ONCE", size)
    counts = np.array([3, 0, 5, 1, 0, 4, 7, 2, 0])
    labels = rng.integers(0, 3, counts.sum()).astype(np.int32)
    corners = rng.uniform(1, 20, (len(labels), 2)).astype(np.float32)
    dataset = DetectionDataset(
        image_paths=[f"{i}.jpg" for i in range(len(counts))],
        image_ids=list(range(len(counts))),
        heights=np.full(len(counts), 50, np.int32),
        widths=np.full(len(counts), 60, np.int32),
        row_splits=np.concatenate([[0], np.cumsum(counts)]),
        boxes=np.concatenate([corners, corners + 10], axis=1),
        labels=labels,
        is_ignored=rng.random(len(labels)) < 0.3,
        areas=np.full(len(labels), 100, np.float32),
        class_names=("a", "b", "c", "never"),
        category_ids=(1, 2, 3, 4),
    )
    images = np.repeat(np.arange(len(counts)), counts)
    objects = [
        (i, k) for i, k, no in zip(images, labels, dataset.is_ignored, strict=True) if not no
    ]
    classes = describe_dataset(dataset)["classes"]
    for label, name in enumerate(dataset.class_names):
        assert classes[name] == {
            "objects": sum(k == label for _, k in objects),
            "images": len({i for i, k in objects if k == label}),
        }
