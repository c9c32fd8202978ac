"""Figures of a data set: its images, and how many objects of which class, size and shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_retinanet.data.checks.anchor_recall import SIZE_CLASSES
from keras_retinanet.data.dataset import DetectionDataset

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
    images = np.repeat(np.arange(len(dataset)), np.diff(dataset.row_splits))[is_object]
    limits = [low for low, _ in SIZE_CLASSES.values()] + [np.inf]
    num_labels = max(1, len(dataset.class_names))
    pairs = np.unique(images * num_labels + labels) % num_labels
    objects_of = np.bincount(labels, minlength=len(dataset.class_names))
    images_of = np.bincount(pairs, minlength=len(dataset.class_names))
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
