"""Whether scores are what they look like: of detections scored 0.8, 80 % ought to be right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_retinanet.evaluation.coco_eval import ClassMatches

NUM_BINS = 10
_LOOSEST = 0  # of IOU_THRESHOLDS: 0.5


@dataclass(frozen=True)
class Calibration:
    """Detections in bins of their scores, bin b from b / B up to (b + 1) / B.

    Attributes:
        counts: [B].
        mean_scores, shares_right: [B], NaN in an empty bin.
        error: the expected calibration error (Naeini et al. 2015): the mean distance of the two
            over the detections; None without any.
    """

    counts: np.ndarray
    mean_scores: np.ndarray
    shares_right: np.ndarray
    error: float | None


def calibration(matches: Sequence[ClassMatches], *, num_bins: int = NUM_BINS) -> Calibration:
    """Return how the scores of all classes compare with the shares that are right at IoU 0.5."""
    counted = [~m.is_ignored[_LOOSEST] for m in matches]
    scores = np.concatenate([np.zeros(0), *(m.scores[c] for m, c in zip(matches, counted))])
    is_right = np.concatenate(
        [np.zeros(0, bool), *(m.is_right[_LOOSEST][c] for m, c in zip(matches, counted))]
    )
    bins = np.minimum((scores * num_bins).astype(int), num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        mean_scores = np.bincount(bins, scores, num_bins) / counts
        shares_right = np.bincount(bins, is_right, num_bins) / counts
    gaps = np.nan_to_num(np.abs(mean_scores - shares_right))
    error = float(gaps @ counts / len(scores)) if len(scores) else None
    return Calibration(counts, mean_scores, shares_right, error)
