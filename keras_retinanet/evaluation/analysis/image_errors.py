"""What is wrong with each detection of an image, and which objects nothing found.

The kinds are those of TIDE (Bolya et al. 2020, arXiv 2008.08115), by the overlap with objects of
the same class and of any class.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from pycocotools import mask

from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.evaluation.coco_eval import Found, Objects

# TIDE's thresholds: a detection is right from the one on, and on background up to the other.
RIGHT_IOU, BACKGROUND_IOU = 0.5, 0.1


class ErrorKind(IntEnum):
    """What a detection is, in the order in which TIDE asks.

    LOCATION: the right class, overlapping an object too little. CLASS: on an object of another
    class. DUPLICATE: of an object that a better one has. BACKGROUND: on nothing. BOTH: of another
    class than the object that it overlaps too little. MISSED is an object that no detection found,
    and that mending no LOCATION or CLASS error would find.
    """

    RIGHT = 0
    CLASS = 1
    LOCATION = 2
    BOTH = 3
    DUPLICATE = 4
    BACKGROUND = 5
    MISSED = 6


# Of a detection that has to do with none.
NO_OBJECT = -1


@dataclass(frozen=True)
class ImageErrors:
    """The detections of an image by falling score, and its objects, regions to ignore left out.

    Attributes:
        image: its number in the data set.
        rows: [n], where each detection is in the `Found` that was given.
        labels, scores: [n].
        kinds: [n] of `ErrorKind`, by its values.
        objects: [n], the row in `object_rows` that a detection found, or whose error it is.
        is_excused: [n], unmatched, and within a region to ignore: no error.
        is_mendable: [n], the best of those CLASS and LOCATION errors whose object nothing found.
        object_rows: [m], where each object is in the `Objects` that were given.
        object_labels, is_found: [m].
    """

    image: int
    rows: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    kinds: np.ndarray
    objects: np.ndarray
    is_excused: np.ndarray
    is_mendable: np.ndarray
    object_rows: np.ndarray
    object_labels: np.ndarray
    is_found: np.ndarray

    @property
    def is_missed(self) -> np.ndarray:
        """Which objects are MISSED [m]."""
        mendable = np.zeros(len(self.is_found), bool)
        mendable[self.objects[self.is_mendable]] = True
        return ~self.is_found & ~mendable


def find_errors(
    objects: Objects,
    found: Found,
    *,
    iou: float = RIGHT_IOU,
    background_iou: float = BACKGROUND_IOU,
    max_detections: int = MAX_DETECTIONS,
) -> ImageErrors:
    """Return the errors of an image's detections, of which the best `max_detections` count.

    Args:
        iou: overlap from which a detection finds an object.
        background_iou: overlap up to which it has nothing to do with an object.
    """
    rows = np.argsort(-found.scores, kind="stable")[:max_detections]
    boxes, labels = found.boxes[rows], found.labels[rows]
    object_rows = np.flatnonzero(~objects.is_ignored)
    object_labels = objects.labels[object_rows]
    overlaps = _overlaps(boxes, objects.boxes[object_rows])
    is_same = labels[:, None] == object_labels[None, :]
    matches = _match(overlaps * is_same, iou)
    is_found = np.zeros(len(object_rows), bool)
    is_found[matches[matches != NO_OBJECT]] = True
    kinds, about = _classify(overlaps, is_same, is_found, iou, background_iou)
    is_right = matches != NO_OBJECT
    kinds[is_right] = ErrorKind.RIGHT
    about = np.where(is_right, matches, about)
    return ImageErrors(
        image=objects.image,
        rows=rows,
        labels=labels,
        scores=found.scores[rows],
        kinds=kinds,
        objects=about,
        is_excused=~is_right & _is_excused(boxes, labels, objects, iou),
        is_mendable=_mendable(kinds, about, is_found),
        object_rows=object_rows,
        object_labels=object_labels,
        is_found=is_found,
    )


def _overlaps(boxes: np.ndarray, others: np.ndarray, *, crowd: bool = False) -> np.ndarray:
    """Return the IoU [n, m] of xywh boxes; with `crowd`, the share of each box that is covered."""
    if not len(boxes) or not len(others):
        return np.zeros((len(boxes), len(others)))
    return np.asarray(mask.iou(boxes, others, [int(crowd)] * len(others)))


def _match(overlaps: np.ndarray, iou: float) -> np.ndarray:
    """Return the object [n] that each detection finds: the best that no better detection has."""
    matches = np.full(len(overlaps), NO_OBJECT)
    free = overlaps.copy()
    for row in range(len(overlaps)) if overlaps.shape[1] else ():
        best = int(free[row].argmax())
        if free[row, best] >= iou:
            matches[row] = best
            free[:, best] = 0
    return matches


def _classify(
    overlaps: np.ndarray,
    is_same: np.ndarray,
    is_found: np.ndarray,
    iou: float,
    background_iou: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the kind of error [n] that each detection would be, and its object [n]."""
    num = len(overlaps)
    kinds = np.full(num, ErrorKind.BACKGROUND, np.int8)
    about = np.full(num, NO_OBJECT)
    if not overlaps.shape[1]:
        return kinds, about
    same, others, taken = overlaps * is_same, overlaps * ~is_same, overlaps * is_same * is_found
    best_same = same.max(axis=1)
    # In this order; the first that holds is the kind.
    tests = (
        (ErrorKind.LOCATION, (background_iou <= best_same) & (best_same <= iou), same),
        (ErrorKind.CLASS, others.max(axis=1) >= iou, others),
        (ErrorKind.DUPLICATE, taken.max(axis=1) >= iou, taken),
        (ErrorKind.BACKGROUND, overlaps.max(axis=1) <= background_iou, None),
        (ErrorKind.BOTH, np.ones(num, bool), overlaps),
    )
    is_open = np.ones(num, bool)
    for kind, holds, values in tests:
        chosen = is_open & holds
        kinds[chosen] = kind
        if values is not None:
            about[chosen] = values[chosen].argmax(axis=1)
        is_open &= ~holds
    return kinds, about


def _is_excused(boxes: np.ndarray, labels: np.ndarray, objects: Objects, iou: float) -> np.ndarray:
    """Return which detections [n] lie in a region to ignore of their class."""
    regions = np.flatnonzero(objects.is_ignored)
    covered = _overlaps(boxes, objects.boxes[regions], crowd=True) > iou
    return (covered & (labels[:, None] == objects.labels[regions][None, :])).any(axis=1)


def _mendable(kinds: np.ndarray, about: np.ndarray, is_found: np.ndarray) -> np.ndarray:
    """Return the first CLASS or LOCATION error [n] of each object that nothing found."""
    mendable = np.zeros(len(kinds), bool)
    candidates = np.flatnonzero((kinds == ErrorKind.CLASS) | (kinds == ErrorKind.LOCATION))
    candidates = candidates[~is_found[about[candidates]]]
    _, first = np.unique(about[candidates], return_index=True)
    mendable[candidates[first]] = True
    return mendable
