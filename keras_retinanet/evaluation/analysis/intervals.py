"""How far an AP may be off by chance: images are drawn anew many times (the bootstrap)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from keras_retinanet.evaluation.coco_eval import RECALLS, ClassMatches

NUM_DRAWS = 200
CONFIDENCE = 0.95


@dataclass(frozen=True)
class APDifference:
    """By how much one AP is above another, and the interval of that over draws of the images."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0: other images would hardly turn the order round."""
        return self.low > 0 or self.high < 0


def ap_interval(
    matches: Sequence[ClassMatches],
    *,
    num_draws: int = NUM_DRAWS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the interval of AP over draws of as many images, with replacement (Efron 1979).

    It says how much AP would vary with other images of the same kind, and nothing of how it would
    vary with another training. None without objects.
    """
    if not _has_objects(matches):
        return None
    ordered = [_by_score(match) for match in matches]
    drawn = (_weighted_ap(ordered, times) for times in _draws(matches, num_draws, seed))
    return _middle([value for value in drawn if value is not None], confidence)


def ap_difference(
    matches: Sequence[ClassMatches],
    others: Sequence[ClassMatches],
    *,
    num_draws: int = NUM_DRAWS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> APDifference | None:
    """Return by how much the AP of `matches` is above that of `others` on the same images.

    Each draw takes the same images for both (the paired bootstrap): what makes an image hard for
    both is no difference, so that the interval is narrower than the two APs' own. None without
    objects.

    Raises:
        ValueError: the two are not of the same images and objects.
    """
    ours, theirs = (sum(m.num_objects for m in side) for side in (matches, others))
    if not np.array_equal(ours, theirs):
        raise ValueError("the two evaluations are not of the same images and objects")
    if not _has_objects(matches):
        return None
    sides = [[_by_score(match) for match in side] for side in (matches, others)]
    values = []
    for times in [
        np.ones(len(matches[0].num_objects), np.int64),
        *_draws(matches, num_draws, seed),
    ]:
        first, second = (_weighted_ap(side, times) for side in sides)
        if first is not None and second is not None:
            values.append(first - second)
    return APDifference(values[0], *_middle(values[1:], confidence))


def average_precision(matches: Sequence[ClassMatches]) -> float | None:
    """Return COCO's AP of the matches; None without objects."""
    num_images = len(matches[0].num_objects) if matches else 0
    return _weighted_ap([_by_score(match) for match in matches], np.ones(num_images, np.int64))


def _has_objects(matches: Sequence[ClassMatches]) -> bool:
    return any(match.num_objects.any() for match in matches)


def _draws(matches: Sequence[ClassMatches], num_draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each image is drawn [N], in draws of as many images as there are."""
    num_images = len(matches[0].num_objects)
    random = np.random.default_rng(seed)
    for _ in range(num_draws):
        yield np.bincount(random.integers(0, num_images, num_images), minlength=num_images)


def _middle(values: Sequence[float], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _by_score(match: ClassMatches) -> ClassMatches:
    order = np.argsort(-match.scores, kind="stable")
    return ClassMatches(
        scores=match.scores[order],
        images=match.images[order],
        is_right=match.is_right[:, order],
        is_ignored=match.is_ignored[:, order],
        num_objects=match.num_objects,
    )


def _weighted_ap(ordered: Sequence[ClassMatches], times: np.ndarray) -> float | None:
    """Return the AP where each image counts so many times."""
    values = []
    for match in ordered:
        num_objects = int(times @ match.num_objects)
        if num_objects:
            values.append(_class_ap(match, times[match.images], num_objects))
    return float(np.mean(values)) if values else None


def _class_ap(match: ClassMatches, weights: np.ndarray, num_objects: int) -> float:
    total = np.cumsum(weights)
    result = 0.0
    for is_right, is_ignored in zip(match.is_right, match.is_ignored, strict=True):
        # Recall rises at right detections alone, and precision is highest there.
        hits = np.flatnonzero(is_right & ~is_ignored)
        if is_ignored.any():
            counted = np.cumsum(np.where(is_ignored, 0, weights))[hits]
        else:
            counted = total[hits]
        right = np.cumsum(weights[hits])
        precision = right / np.maximum(counted, 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        reached = np.searchsorted(right / num_objects, RECALLS, side="left")
        result += best[reached[reached < len(best)]].sum()
    return result / (len(RECALLS) * len(match.is_right))
