"""Figures of a data set: its images, and how many objects of which class, size and shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_retinanet.data.checks.anchor_recall import SIZE_CLASSES
from keras_retinanet.data.cleaning import BLOCK_SIZE
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
    num_objects = dataset.num_objects
    objects_of, images_of = _by_class(dataset)
    roots, sizes, aspects = _of_boxes(dataset)
    return {
        "images": len(dataset),
        "objects": len(roots),
        "ignored_regions": int(dataset.is_ignored.sum()),
        "images_without_objects": int((num_objects == 0).sum()),
        "image_heights": _spread(dataset.heights),
        "image_widths": _spread(dataset.widths),
        "box_sides": _spread(roots),
        "objects_per_image": _named(
            _counts(num_objects, PER_IMAGE_LIMITS, len(PER_IMAGE_NAMES)), PER_IMAGE_NAMES
        ),
        "sizes": _named(sizes, list(SIZE_CLASSES)),
        "aspect_ratios": _named(aspects, ASPECT_NAMES),
        "classes": {
            name: {"objects": int(objects_of[label]), "images": int(images_of[label])}
            for label, name in enumerate(dataset.class_names)
        },
    }


def _of_boxes(dataset: DetectionDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the roots of the objects' areas [n], and how many there are of each size and shape."""
    limits = [low for low, _ in SIZE_CLASSES.values()] + [np.inf]
    sizes, aspects = np.zeros(len(SIZE_CLASSES), int), np.zeros(len(ASPECT_NAMES), int)
    roots = np.empty(dataset.num_boxes - int(dataset.is_ignored.sum()), dataset.boxes.dtype)
    count = 0
    # In blocks: what is made on the way needs more memory than the boxes.
    for start in range(0, dataset.num_boxes, BLOCK_SIZE):
        block = slice(start, start + BLOCK_SIZE)
        is_object = ~dataset.is_ignored[block]
        boxes = dataset.boxes[block][is_object]
        sides = boxes[:, 2:] - boxes[:, :2]
        roots[count : count + len(boxes)] = np.sqrt(sides.prod(axis=1))
        count += len(boxes)
        sizes += _counts(dataset.areas[block][is_object], limits, len(sizes))
        with np.errstate(divide="ignore", invalid="ignore"):
            aspects += _counts(sides[:, 0] / sides[:, 1], ASPECT_LIMITS, len(aspects))
    return roots, sizes, aspects


def _by_class(dataset: DetectionDataset) -> tuple[np.ndarray, np.ndarray]:
    """Return how many objects of each class there are [K], and how many images have one [K]."""
    num_classes = len(dataset.class_names)
    num_objects, num_images = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
    # In blocks: of millions of boxes, their images and classes need as much memory as the boxes.
    for start in range(0, len(dataset), IMAGES_AT_ONCE):
        splits = dataset.row_splits[start : start + IMAGES_AT_ONCE + 1]
        rows = slice(int(splits[0]), int(splits[-1]))
        is_object = ~dataset.is_ignored[rows]
        labels = dataset.labels[rows][is_object]
        images = np.repeat(np.arange(len(splits) - 1), np.diff(splits))[is_object]
        pairs = np.unique(images * max(1, num_classes) + labels)
        num_objects += np.bincount(labels, minlength=num_classes)
        num_images += np.bincount(pairs % max(1, num_classes), minlength=num_classes)
    return num_objects, num_images


def _spread(values: np.ndarray) -> dict[str, float] | None:
    if not len(values):
        return None
    found = np.percentile(values, PERCENTILES)
    return {f"p{p}": round(float(v), 1) for p, v in zip(PERCENTILES, found, strict=True)}


def _counts(values: np.ndarray, limits: Sequence[float], number: int) -> np.ndarray:
    """Return how many values there are from each limit to the next [number]."""
    index = np.searchsorted(np.asarray(limits)[1:], values, side="right")
    return np.bincount(np.minimum(index, number - 1), minlength=number)


def _named(counts: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    return {name: int(count) for name, count in zip(names, counts, strict=True)}
