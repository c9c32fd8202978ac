"""Which class is taken for which: the confusion matrix of a detector, with background."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask

from keras_retinanet.evaluation.coco_eval import Found, Objects


def confusion_matrix(
    objects: Sequence[Objects],
    found: Sequence[Found],
    *,
    num_classes: int,
    min_score: float,
    iou: float = 0.5,
) -> np.ndarray:
    """Return counts [K + 1, K + 1]: rows are the true class, columns the detected one.

    The last row is background that was detected as an object, the last column objects that nothing
    found. Pairs of an object and a detection are taken by falling overlap, whatever their classes;
    each is in one pair at most. Detections within regions to ignore of their class count only where
    they are in a pair.

    Args:
        min_score: detections below it do not count.
        iou: pairs overlap by this or more.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    by_image = {f.image: f for f in found}
    for image in objects:
        is_object = ~image.is_ignored
        true, boxes = image.labels[is_object], image.boxes[is_object]
        detections = by_image.get(image.image)
        kept = detections.scores >= min_score if detections is not None else np.zeros(0, bool)
        if detections is None or not kept.any():
            np.add.at(matrix, (true, num_classes), 1)
            continue
        labels, places = detections.labels[kept], detections.boxes[kept]
        pairs = _pairs(places, boxes, iou)
        np.add.at(matrix, (true[pairs[:, 1]], labels[pairs[:, 0]]), 1)
        missed = np.setdiff1d(np.arange(len(true)), pairs[:, 1])
        np.add.at(matrix, (true[missed], num_classes), 1)
        alone = np.setdiff1d(np.arange(len(labels)), pairs[:, 0])
        alone = alone[~_is_excused(places[alone], labels[alone], image, iou)]
        np.add.at(matrix, (num_classes, labels[alone]), 1)
    return matrix


def _pairs(boxes: np.ndarray, others: np.ndarray, iou: float) -> np.ndarray:
    """Return pairs [P, 2] of rows that overlap, each row once, the closest first."""
    pairs: list[tuple[int, int]] = []
    if len(others):
        overlaps = np.asarray(mask.iou(boxes, others, [0] * len(others)))
        rows, columns = np.nonzero(overlaps >= iou)
        order = np.argsort(-overlaps[rows, columns], kind="stable")
        used: tuple[set[int], set[int]] = (set(), set())
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
            if row not in used[0] and column not in used[1]:
                used[0].add(row)
                used[1].add(column)
                pairs.append((row, column))
    return np.array(pairs, np.int64).reshape(-1, 2)


def _is_excused(boxes: np.ndarray, labels: np.ndarray, image: Objects, iou: float) -> np.ndarray:
    regions = np.flatnonzero(image.is_ignored)
    if not len(boxes) or not len(regions):
        return np.zeros(len(boxes), bool)
    covered = np.asarray(mask.iou(boxes, image.boxes[regions], [1] * len(regions))) > iou
    return (covered & (labels[:, None] == image.labels[regions][None, :])).any(axis=1)
