"""Figures of a data set: its images, and how many objects of which class, size and shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_retinanet.data.checks.anchor_recall import SIZE_CLASSES
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.images.inspection import IMAGES_AT_ONCE

# Width over height, from this limit on to the next.
ASPECT_LIMITS = (0.0, 0.25, 0.5, 0.8, 1.25, 2.0, 4.0, np.inf)
ASPECT_NAMES = (
    "below 1:4",
    "1:4 to 1:2",
    "1:2 to 4:5",
    "about 1:1",
    "5:4 to 2:1",
    "2:1 to 4:1",
    "above 4:1",
)
PER_IMAGE_LIMITS = (0, 1, 2, 3, 6, 11, 21, 51, 101, np.inf)
PER_IMAGE_NAMES = ("0", "1", "2", "3-5", "6-10", "11-20", "21-50", "51-100", "above 100")
PERCENTILES = (0, 5, 50, 95, 100)


def describe_dataset(dataset: DetectionDataset) -> dict[str, Any]:
    """Return the figures of a data set, ready for JSON.

    Ignored regions are counted as such and are no objects. Sizes are COCO's, by area; sides and
    ratios are those of the boxes, in pixels of the original images.
    """
    is_object = ~dataset.is_ignored
    boxes, areas, labels = (
        values[is_object] for values in (dataset.boxes, dataset.areas, dataset.labels)
    )
    sides = boxes[:, 2:] - boxes[:, :2]
    limits = [low for low, _ in SIZE_CLASSES.values()] + [np.inf]
    objects_of = np.bincount(labels, minlength=len(dataset.class_names))
    images_of = _images_of_classes(dataset)
    with np.errstate(divide="ignore", invalid="ignore"):
        aspects = sides[:, 0] / sides[:, 1]
    return {
        "images": len(dataset),
        "objects": int(is_object.sum()),
        "ignored_regions": int(dataset.is_ignored.sum()),
        "images_without_objects": int((dataset.num_objects == 0).sum()),
        "image_heights": _spread(dataset.heights),
        "image_widths": _spread(dataset.widths),
        "box_sides": _spread(np.sqrt(sides.prod(axis=1))),
        "objects_per_image": _counts(dataset.num_objects, PER_IMAGE_LIMITS, PER_IMAGE_NAMES),
        "sizes": _counts(areas, limits, list(SIZE_CLASSES)),
        "aspect_ratios": _counts(aspects, ASPECT_LIMITS, ASPECT_NAMES),
        "classes": {
            name: {"objects": int(objects_of[label]), "images": int(images_of[label])}
            for label, name in enumerate(dataset.class_names)
        },
    }


def _images_of_classes(dataset: DetectionDataset) -> np.ndarray:
    """Return how many images have an object of each class [K]."""
    num_classes = len(dataset.class_names)
    counts = np.zeros(num_classes, np.int64)
    # In blocks: of millions of boxes, their images and classes need as much memory as the boxes.
    for start in range(0, len(dataset), IMAGES_AT_ONCE):
        splits = dataset.row_splits[start : start + IMAGES_AT_ONCE + 1]
        rows = slice(int(splits[0]), int(splits[-1]))
        is_object = ~dataset.is_ignored[rows]
        images = np.repeat(np.arange(len(splits) - 1), np.diff(splits))[is_object]
        pairs = np.unique(images * max(1, num_classes) + dataset.labels[rows][is_object])
        counts += np.bincount(pairs % max(1, num_classes), minlength=num_classes)
    return counts


def _spread(values: np.ndarray) -> dict[str, float] | None:
    if not len(values):
        return None
    found = np.percentile(values, PERCENTILES)
    return {f"p{p}": round(float(v), 1) for p, v in zip(PERCENTILES, found, strict=True)}


def _counts(values: np.ndarray, limits: Sequence[float], names: Sequence[str]) -> dict[str, int]:
    """Return how many values there are from each limit to the next."""
    index = np.searchsorted(np.asarray(limits)[1:], values, side="right")
    counts = np.bincount(np.minimum(index, len(names) - 1), minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True)}
