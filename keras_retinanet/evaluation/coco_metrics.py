"""COCO's figures, as pycocotools computes them and many times faster: matching and accumulation.

pycocotools' loops over classes, areas and thresholds would take longer than a small network does;
here one array operation treats all areas and thresholds. IoUs are pycocotools' own.
"""

from dataclasses import dataclass

import numpy as np
from pycocotools import mask

# COCO's parameters: IoU thresholds, recalls, areas in square pixels, detections of an image.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)])  # all, small, ...
MAX_DETECTIONS = (1, 10, 100)

# The twelve figures in COCO's order.
COCO_FIGURES = (
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip

_SMALLEST = np.spacing(1)  # pycocotools' guard of 0 / 0


@dataclass
class _Matches:
    """Detections by label, and best first within an image, for A areas and T thresholds."""

    labels: np.ndarray  # [D]
    scores: np.ndarray  # [D]
    rank: np.ndarray  # [D], 0 for the best of its class in its image
    is_matched: np.ndarray  # [A, T, D]
    is_ignored: np.ndarray  # [A, T, D]

    def of_label(self, label: int) -> "_Matches":
        start, end = np.searchsorted(self.labels, (label, label + 1))
        return _Matches(*(values[..., start:end] for values in vars(self).values()))


class CocoMatcher:
    """Matches detections to objects image by image, and sums up over all of them.

    Args:
        num_classes: K.
        objects: those of the whole data set, by (image, label).
    """

    def __init__(self, num_classes: int, objects: dict[tuple[int, int], "Objects"]) -> None:
        self._num_classes = num_classes
        self._objects = objects
        self._matches: dict[int, _Matches] = {}

    def add(self, image: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
        """Match an image's detections: boxes [n, 4] float64 xywh, scores [n] and labels [n]."""
        order = np.lexsort((-scores, labels))
        starts = np.searchsorted(labels[order], labels[order], side="left")
        rank = np.arange(len(order)) - starts
        order, rank = order[rank < MAX_DETECTIONS[-1]], rank[rank < MAX_DETECTIONS[-1]]
        boxes, scores, labels = boxes[order], scores[order], labels[order]
        areas = boxes[:, 2] * boxes[:, 3]
        outside = (areas < AREAS[:, :1]) | (areas > AREAS[:, 1:])  # [A, D]
        is_matched = np.zeros((len(AREAS), len(IOU_THRESHOLDS), len(order)), bool)
        is_ignored = np.zeros_like(is_matched)
        for start in np.flatnonzero(rank == 0):
            objects = self._objects.get((image, int(labels[start])))
            if objects is not None:
                end = np.searchsorted(labels, labels[start], side="right")
                _match(
                    boxes[start:end],
                    objects,
                    is_matched[..., start:end],
                    is_ignored[..., start:end],
                )
        is_ignored |= ~is_matched & outside[:, None]
        self._matches[image] = _Matches(labels, scores, rank, is_matched, is_ignored)

    def summary(self) -> tuple[dict[str, float | None], np.ndarray]:
        """Return the figures, and the precisions [T, R, K] at COCO's recalls for all sizes.

        A figure is None where there is nothing to measure it on; precisions are -1 there.
        """
        num_thresholds, num_areas, k = len(IOU_THRESHOLDS), len(AREAS), self._num_classes
        precision = -np.ones((num_areas, num_thresholds, len(RECALLS), k))
        # Only objects of any size are measured with fewer detections than 100.
        recall = -np.ones((len(MAX_DETECTIONS) - 1 + num_areas, num_thresholds, k))
        num_objects = self._count_objects()
        found = self._all_matches()
        for label in range(k):
            _accumulate(
                found.of_label(label),
                num_objects[:, label],
                precision[..., label],
                recall[..., label],
            )
        index_50, index_75 = (int(np.argmin(np.abs(IOU_THRESHOLDS - t))) for t in (0.5, 0.75))
        values = [precision[0], precision[0, index_50], precision[0, index_75], *precision[1:]]
        figures = [_mean(v) for v in [*values, *recall]]
        return dict(zip(COCO_FIGURES, figures, strict=True)), precision[0]

    def _count_objects(self) -> np.ndarray:
        """Return how many objects count [A, K]."""
        counts = np.zeros((len(AREAS), self._num_classes), np.int64)
        for (_, label), objects in self._objects.items():
            counts[:, label] += np.sum(~objects.is_ignored, axis=1)
        return counts

    def _all_matches(self) -> _Matches:
        """Return the detections of all images, those of a label by falling score."""
        none = np.zeros((len(AREAS), len(IOU_THRESHOLDS), 0), bool)
        parts = [_Matches(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), none, none)]
        # In the images' order: of equal scores the first image's comes first.
        parts += [self._matches[image] for image in sorted(self._matches)]
        arrays = [
            np.concatenate(values, axis=-1) for values in zip(*(vars(p).values() for p in parts))
        ]
        order = np.lexsort((-arrays[1], arrays[0]))
        return _Matches(*(values[..., order] for values in arrays))


def _accumulate(
    found: _Matches, num_objects: np.ndarray, precision: np.ndarray, recall: np.ndarray
) -> None:
    """Fill in a class' precisions [A, T, R] and recalls [2 + A, T], where it has objects [A]."""
    counts = ~found.is_ignored
    is_right = found.is_matched & counts
    if num_objects[0]:
        for row, most in enumerate(MAX_DETECTIONS[:-1]):
            right = (is_right[0] & (found.rank < most)).sum(axis=1)
            recall[row] = right / num_objects[0]
    for area in np.flatnonzero(num_objects):
        right = np.cumsum(is_right[area], axis=1).astype(np.float64)
        wrong = np.cumsum(~found.is_matched[area] & counts[area], axis=1).astype(np.float64)
        recalls = right / num_objects[area]
        recall[len(MAX_DETECTIONS) - 1 + area] = is_right[area].sum(axis=1) / num_objects[area]
        envelope = right / (wrong + right + _SMALLEST)
        envelope = np.maximum.accumulate(envelope[:, ::-1], axis=1)[:, ::-1]
        padded = np.pad(envelope, ((0, 0), (0, 1)))  # 0 beyond the last recall
        for t in range(len(IOU_THRESHOLDS)):
            precision[area, t] = padded[t, np.searchsorted(recalls[t], RECALLS, side="left")]


class Objects:
    """The objects of a class in an image: boxes [n, 4] xywh, areas [n] and is_crowd [n]."""

    def __init__(self, boxes: np.ndarray, areas: np.ndarray, is_crowd: np.ndarray) -> None:
        self.boxes = np.asarray(boxes, np.float64)
        self.is_crowd = np.asarray(is_crowd, bool)
        areas = np.asarray(areas, np.float64)
        # [A, n]: neither to be found nor a mistake to find
        self.is_ignored = (
            self.is_crowd | (areas < AREAS[:, :1]) | (areas > AREAS[:, 1:])
        )  # both ends of a range belong to it


def _match(
    boxes: np.ndarray, objects: Objects, is_matched: np.ndarray, is_ignored: np.ndarray
) -> None:
    """Fill in which detections [A, T, D] have an object, and which have one that is ignored.

    The best detection chooses first, the free object of the highest IoU. Ignored ones are its
    second choice, whatever their IoU, and crowds are always free.
    """
    # Backwards: of equal IoUs pycocotools takes the last, argmax the first.
    ious = mask.iou(boxes, objects.boxes, objects.is_crowd.astype(np.uint8))[:, ::-1]
    crowd, ignored = objects.is_crowd[::-1], objects.is_ignored[:, None, ::-1]
    least = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    is_taken = np.zeros((*is_matched.shape[:2], ious.shape[1]), bool)
    areas, thresholds = np.ogrid[: is_matched.shape[0], : is_matched.shape[1]]
    for d in np.flatnonzero(ious.max(axis=1) >= least[0]):
        free = (ious[d] >= least) & (~is_taken | crowd)
        # Objects that count rank above those that do not.
        best = np.where(free, ious[d] - 2.0 * ignored, -3.0).argmax(axis=2)
        matched = free[areas, thresholds, best]
        is_matched[:, :, d] = matched
        is_ignored[:, :, d] = matched & ignored[areas, 0, best]
        is_taken[areas, thresholds, best] |= matched


def _mean(values: np.ndarray) -> float | None:
    values = values[values > -1]
    return float(values.mean()) if values.size else None


def class_ap(precision: np.ndarray) -> list[float | None]:
    """Return the AP of each class for precisions [T, R, K]."""
    return [_mean(precision[:, :, label]) for label in range(precision.shape[2])]
