"""How much AP each kind of error costs: what would be gained if all of it were mended (TIDE)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_retinanet.evaluation.analysis.image_errors import ErrorKind, ImageErrors
from keras_retinanet.evaluation.coco_eval import RECALLS

ERRORS = (
    ErrorKind.CLASS,
    ErrorKind.LOCATION,
    ErrorKind.BOTH,
    ErrorKind.DUPLICATE,
    ErrorKind.BACKGROUND,
    ErrorKind.MISSED,
)


@dataclass(frozen=True)
class LostAP:
    """AP at one IoU threshold, and what errors take from it, in shares of 1.

    Attributes:
        ap: mean over the classes that have objects or detections.
        lost: by kind of error. They do not add up to 1 - ap: mending one uncovers others.
        false_positives, false_negatives: what all wrong detections, and all objects that are not
            found, cost.
        counts: how many errors there are of each kind.
    """

    ap: float
    lost: dict[ErrorKind, float]
    false_positives: float
    false_negatives: float
    counts: dict[ErrorKind, int]


@dataclass(frozen=True)
class _Points:
    """Detections as AP counts them: labels, scores, is_right and, for ties, order; all [n]."""

    labels: np.ndarray
    scores: np.ndarray
    is_right: np.ndarray
    order: np.ndarray


def lost_ap(images: Sequence[ImageErrors], *, num_classes: int) -> LostAP:
    """Return the AP of a data set's detections, and what each kind of error costs.

    As in TIDE, a CLASS or LOCATION error is mended into a right detection if it is the best of an
    object that nothing found, and else left out, as the other wrong detections are; a MISSED object
    is left out.
    """
    labels, scores, kinds, is_excused, is_mendable = (
        _joined(images, name) for name in ("labels", "scores", "kinds", "is_excused", "is_mendable")
    )
    right_labels = _joined_right_labels(images)
    object_labels = _joined(images, "object_labels").astype(np.int64)
    is_found = _joined(images, "is_found").astype(bool)
    is_missed = _joined(images, "is_missed").astype(bool)
    kinds, is_excused, is_mendable = kinds.astype(int), is_excused.astype(bool), is_mendable > 0
    is_right = kinds == ErrorKind.RIGHT
    # Of equal scores TIDE puts wrong detections first, except in the AP itself.
    order = np.arange(len(labels)) + is_right * len(labels)
    plain = _Points(labels, scores, is_right, order)
    num_objects = np.bincount(object_labels, minlength=num_classes)

    def mean(points: _Points, keep: np.ndarray, objects: np.ndarray) -> float:
        return _mean_ap(points, keep, objects, num_classes)

    ap = mean(_Points(labels, scores, is_right, np.arange(len(labels))), ~is_excused, num_objects)
    lost = {}
    for kind in ERRORS[:-1]:
        is_kind = kinds == kind
        mended = is_kind & is_mendable
        points = _Points(np.where(mended, right_labels, labels), scores, is_right | mended, order)
        lost[kind] = mean(points, (~is_excused & ~is_kind) | mended, num_objects)
    missed = np.bincount(object_labels[is_missed], minlength=num_classes)
    lost[ErrorKind.MISSED] = mean(plain, ~is_excused, num_objects - missed)
    perfect = _Points(labels, is_right.astype(float), is_right, order)
    found = np.bincount(object_labels[is_found], minlength=num_classes)
    counts = {kind: int((kinds[~is_excused] == kind).sum()) for kind in ERRORS[:-1]}
    return LostAP(
        ap=ap,
        lost={kind: max(value - ap, 0.0) for kind, value in lost.items()},
        false_positives=mean(perfect, ~is_excused, num_objects) - ap,
        false_negatives=mean(plain, ~is_excused, found) - ap,
        counts={**counts, ErrorKind.MISSED: int(is_missed.sum())},
    )


def _joined(images: Sequence[ImageErrors], name: str) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(getattr(image, name) for image in images)])


def _joined_right_labels(images: Sequence[ImageErrors]) -> np.ndarray:
    """Return the class that each detection would have if its error were mended."""
    # A LOCATION error's object is of its own class.
    return np.concatenate(
        [
            np.zeros(0, np.int64),
            *(
                image.object_labels[image.objects] if len(image.object_labels) else image.labels
                for image in images
            ),
        ]
    )


def _mean_ap(points: _Points, keep: np.ndarray, num_objects: np.ndarray, num_classes: int) -> float:
    values = []
    for label in range(num_classes):
        chosen = np.flatnonzero(keep & (points.labels == label))
        if not len(chosen) and not num_objects[label]:
            continue
        by_score = chosen[np.lexsort((points.order[chosen], -points.scores[chosen]))]
        values.append(_average_precision(points.is_right[by_score], int(num_objects[label])))
    return float(np.mean(values)) if values else 0.0


def _average_precision(is_right: np.ndarray, num_objects: int) -> float:
    """Return the mean of the precision at COCO's recalls, of detections by falling score."""
    if not num_objects or not len(is_right):
        return 0.0
    num_right = np.cumsum(is_right)
    precision = num_right / np.arange(1, len(is_right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(num_right / num_objects, RECALLS, side="left")
    reached = reached[reached < len(envelope)]
    return float(envelope[reached].sum() / len(RECALLS))
