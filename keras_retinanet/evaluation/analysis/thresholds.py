"""Precision, recall and F1 over the score, and the score to trust."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_retinanet.evaluation.coco_eval import ClassMatches

# Of IOU_THRESHOLDS: 0.5.
_LOOSEST = 0


@dataclass(frozen=True)
class OperatingPoints:
    """What keeping the detections of a score or more gives, for every score that occurs.

    Attributes:
        scores: [n], falling and all different.
        precision, recall, f1: [n].
        num_objects: the objects that recall counts.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    num_objects: int

    @property
    def best(self) -> int | None:
        """The row with the highest F1; of equal ones that with the highest score."""
        return int(self.f1.argmax()) if len(self.f1) and self.f1.max() > 0 else None


def operating_points(matches: ClassMatches | Sequence[ClassMatches]) -> OperatingPoints:
    """Return the points of one class, or of several whose detections are pooled, at an IoU of 0.5.

    A recall and an F1 without objects are 0.
    """
    pooled = [matches] if isinstance(matches, ClassMatches) else list(matches)
    scores = np.concatenate([np.zeros(0), *(m.scores for m in pooled)])
    is_right = np.concatenate([np.zeros(0, bool), *(m.is_right[_LOOSEST] for m in pooled)])
    counts = ~np.concatenate([np.zeros(0, bool), *(m.is_ignored[_LOOSEST] for m in pooled)])
    num_objects = int(sum(m.num_objects.sum() for m in pooled))
    scores, is_right = scores[counts], is_right[counts]
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], np.cumsum(is_right[order])
    kept = np.arange(1, len(scores) + 1)
    # A threshold keeps all detections of its score or none.
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])
    scores, right, kept = scores[last], right[last], kept[last]
    return OperatingPoints(
        scores=scores,
        precision=right / kept,
        recall=right / max(num_objects, 1),
        f1=2 * right / (kept + num_objects),
        num_objects=num_objects,
    )
