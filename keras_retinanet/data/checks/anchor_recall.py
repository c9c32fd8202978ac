"""Anchor recall: the share of a data set's objects that have an anchor to be found by, at the size
they are trained at. NumPy, exact, and a matter of milliseconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_retinanet.conventions import POSITIVE_IOU
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy

# COCO's classes of size: limits of the area in square pixels of the original image.
SIZE_CLASSES = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, np.inf),
}
# As in targets: an IoU that is the threshold but for float32's rounding meets it.
_ROUNDING = 1.0 - 1e-6


@dataclass(frozen=True)
class ScaledObjects:
    """The objects of a data set at one training size; ignored regions are not among them.

    Attributes:
        boxes: [T, 4] float64 xyxy in pixels of the network's input.
        canvas: [T, 2] int64 height and width of the padded input that the object is in.
        rows: [T] int64, the objects' rows in the data set.
    """

    boxes: np.ndarray
    canvas: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class AnchorRecall:
    """How well the anchors fit a data set.

    Attributes:
        sizes: the S training sizes.
        best_iou: [S, T] IoU of each object with its best anchor.
        best_level: [S, T] int64, the level of that anchor.
        rows: [T] int64, the objects' rows in the data set.
        labels, areas: [T], of the objects; areas in square pixels of the original images.
        images: [T] int64, the objects' images.
        positive_iou: from this IoU on, an anchor is trained to find the object.
    """

    sizes: tuple[int, ...]
    best_iou: np.ndarray
    best_level: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    images: np.ndarray
    class_names: tuple[str, ...]
    levels: tuple[int, ...]
    positive_iou: float

    @property
    def is_found(self) -> np.ndarray:
        """Whether each object has an anchor, at each size [S, T]."""
        return self.best_iou >= self.positive_iou * _ROUNDING

    @property
    def recall(self) -> float | None:
        """Share of the objects that have an anchor, the mean over the sizes; None of none."""
        return float(self.is_found.mean()) if self.is_found.size else None

    @property
    def unmatched(self) -> np.ndarray:
        """Rows in the data set of the objects without an anchor at one size or more."""
        return self.rows[~self.is_found.all(axis=0)]

    def by_training_size(self) -> dict[str, dict[str, Any]]:
        return {str(size): _share(found[None]) for size, found in zip(self.sizes, self.is_found)}

    def by_size_class(self) -> dict[str, dict[str, Any]]:
        return {
            name: _share(self.is_found[:, (low <= self.areas) & (self.areas < high)])
            for name, (low, high) in SIZE_CLASSES.items()
        }

    def by_class(self) -> dict[str, dict[str, Any]]:
        return {
            name: _share(self.is_found[:, self.labels == label])
            for label, name in enumerate(self.class_names)
        }

    def by_level(self) -> dict[str, dict[str, Any]]:
        """The objects whose best anchor is on each level."""
        return {
            f"P{level}": _share(self.is_found[self.best_level == level][None])
            for level in self.levels
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "recall": self.recall,
            "positive_iou": self.positive_iou,
            "objects": len(self.rows),
            "unmatched": len(self.unmatched),
            "mean_best_iou": float(self.best_iou.mean()) if self.best_iou.size else None,
            "by_training_size": self.by_training_size(),
            "by_size_class": self.by_size_class(),
            "by_class": self.by_class(),
            "by_level": self.by_level(),
        }


def anchor_recall(
    dataset: DetectionDataset,
    *,
    anchor_generator: AnchorGenerator,
    input_policy: InputPolicy,
    sizes: Sequence[int] = (),
    positive_iou: float = POSITIVE_IOU,
) -> AnchorRecall:
    """Return how well anchors fit the objects of a data set.

    Args:
        sizes: take the place of the policy's size (scale jitter).
        positive_iou: the IoU that makes an anchor an object's.
    """
    training_sizes = tuple(sizes) or (input_policy.size,)
    found = [
        best_anchors(scale_objects(dataset, input_policy, size), anchor_generator)
        for size in training_sizes
    ]
    rows = _object_rows(dataset)
    return AnchorRecall(
        sizes=training_sizes,
        best_iou=np.stack([iou for iou, _ in found]),
        best_level=np.stack([level for _, level in found]),
        rows=rows,
        labels=dataset.labels[rows],
        areas=dataset.areas[rows],
        images=np.searchsorted(dataset.row_splits, rows, side="right") - 1,
        class_names=dataset.class_names,
        levels=tuple(anchor_generator.levels),
        positive_iou=positive_iou,
    )


def scale_objects(dataset: DetectionDataset, input_policy: InputPolicy, size: int) -> ScaledObjects:
    """Return the objects in pixels of the network's input, as training scales them."""
    scaled_size = input_policy.scaled_size(dataset.heights, dataset.widths, size)
    canvas = np.stack(input_policy.canvas_size(*scaled_size), axis=1).astype(np.int64)
    heights, widths = (np.asarray(side) for side in scaled_size)
    images = np.repeat(np.arange(len(dataset)), np.diff(dataset.row_splits))
    rows = _object_rows(dataset)
    factors = np.stack([widths / dataset.widths, heights / dataset.heights], axis=1)
    return ScaledObjects(
        boxes=dataset.boxes[rows] * np.tile(factors, 2)[images[rows]],
        canvas=canvas[images[rows]],
        rows=rows,
    )


def best_anchors(
    objects: ScaledObjects, anchor_generator: AnchorGenerator
) -> tuple[np.ndarray, np.ndarray]:
    """Return each object's highest IoU with an anchor [T] and that anchor's level [T]."""
    # On a grid of equal anchors only the intersection varies. It is the product of the common
    # lengths along x and along y, and each is largest where the centres are nearest: one cell of
    # each level has the best anchor of each shape.
    best_iou = np.full(len(objects.boxes), -1.0)
    best_level = np.zeros(len(objects.boxes), np.int64)
    centres = (objects.boxes[:, 2:] + objects.boxes[:, :2]) / 2
    sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
    for size, stride, level in zip(
        anchor_generator.sizes, anchor_generator.strides, anchor_generator.levels, strict=True
    ):
        cells = -(-objects.canvas[:, ::-1] // stride)  # [T, 2], columns and rows
        is_even = anchor_generator.step == "level"
        distance = stride if is_even else objects.canvas[:, ::-1] // cells
        nearest = np.round(centres / distance - anchor_generator.offset)
        nearest = (np.clip(nearest, 0, cells - 1) + anchor_generator.offset) * distance
        base = anchor_generator.base_anchors(size).astype(np.float64)
        high = np.minimum(nearest[:, None] + base[:, 2:], objects.boxes[:, None, 2:])
        low = np.maximum(nearest[:, None] + base[:, :2], objects.boxes[:, None, :2])
        intersection = np.maximum(high - low, 0.0).prod(axis=2)  # [T, A]
        anchor_areas = (base[:, 2:] - base[:, :2]).prod(axis=1)
        iou = intersection / (anchor_areas + sides.prod(axis=1)[:, None] - intersection)
        iou = iou.max(axis=1)
        is_better = iou > best_iou
        best_iou[is_better], best_level[is_better] = iou[is_better], level
    return best_iou, best_level


def _object_rows(dataset: DetectionDataset) -> np.ndarray:
    """Return the rows [T] of the objects, ignored regions left out."""
    return np.flatnonzero(~dataset.is_ignored)


def _share(found: np.ndarray) -> dict[str, Any]:
    """Return number and recall of the objects in a table [S, n]."""
    return {"objects": found.shape[1], "recall": float(found.mean()) if found.size else None}
