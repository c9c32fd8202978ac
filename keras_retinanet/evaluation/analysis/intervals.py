"""How far an AP may be off by chance: images are drawn anew many times (the bootstrap)."""

from collections.abc import Sequence

import numpy as np

from keras_retinanet.evaluation.coco_eval import RECALLS, ClassMatches

NUM_DRAWS = 200
CONFIDENCE = 0.95


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
    num_images = len(matches[0].num_objects) if matches else 0
    if not any(match.num_objects.any() for match in matches):
        return None
    random = np.random.default_rng(seed)
    ordered = [_by_score(match) for match in matches]
    values = []
    for _ in range(num_draws):
        times = np.bincount(random.integers(0, num_images, num_images), minlength=num_images)
        value = _weighted_ap(ordered, times)
        if value is not None:
            values.append(value)
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def average_precision(matches: Sequence[ClassMatches]) -> float | None:
    """Return COCO's AP of the matches; None without objects."""
    num_images = len(matches[0].num_objects) if matches else 0
    return _weighted_ap([_by_score(match) for match in matches], np.ones(num_images, np.int64))


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
    counted = np.where(match.is_ignored, 0, weights)  # [T, n]
    right = np.cumsum(counted * match.is_right, axis=1)
    total = np.cumsum(counted, axis=1)
    precision = right / np.maximum(total, 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    result = 0.0
    for recall, best in zip(right / num_objects, envelope, strict=True):
        reached = np.searchsorted(recall, RECALLS, side="left")
        result += best[reached[reached < len(best)]].sum()
    return result / (len(RECALLS) * len(envelope))
