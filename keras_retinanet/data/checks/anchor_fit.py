"""Fitting the anchors to a data set: as many for each cell, of the shapes that its objects need."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from keras_retinanet.conventions import POSITIVE_IOU
from keras_retinanet.data.checks.anchor_recall import ScaledObjects, best_anchors, scale_objects
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy

# More objects than this are sampled: shapes are well known from fewer.
MAX_FITTED_OBJECTS = 4000
# The levels' sizes change only where that finds this share of the objects more.
MIN_GAIN_OF_SIZES = 0.005
# Objects that only just have an anchor count less: others like them would have none. And recall is
# flat between objects, where the mean IoU tells the search where to go.
MARGIN, MARGIN_WEIGHT = 0.1, 0.5
MEAN_IOU_WEIGHT = 0.25
# Factors that the search tries on each number in turn, coarse to fine.
STEPS = (1.3, 1.14, 1.06, 1.025)
MAX_ROUNDS = 8
# Where the search for the sizes begins: the configured ones times these.
SIZE_FACTORS = tuple(2.0 ** (i / 2) for i in range(-5, 4))

# How well anchors fit: higher is better.
Score = Callable[[AnchorGenerator], float]
# The numbers of an AnchorGenerator that are searched.
NumbersName = Literal["sizes", "scales", "ratios"]


def fit_anchors(
    dataset: DetectionDataset,
    *,
    anchor_generator: AnchorGenerator,
    input_policy: InputPolicy,
    sizes: Sequence[int] = (),
    positive_iou: float = POSITIVE_IOU,
    seed: int = 0,
) -> AnchorGenerator:
    """Return anchors with higher recall on a data set, as many as before, in readable numbers.

    Scales and ratios are searched first, then the levels' sizes with them if that is worth it.
    What is returned is never worse than what was given, on the (at most MAX_FITTED_OBJECTS)
    objects that are searched with.

    Args:
        sizes: take the place of the policy's size (scale jitter): all are fitted together.
    """
    objects = _sample(
        [scale_objects(dataset, input_policy, s) for s in tuple(sizes) or (input_policy.size,)],
        np.random.default_rng(seed),
    )
    if not len(objects.boxes):
        return anchor_generator

    def recall(generator: AnchorGenerator) -> float:
        return float((best_anchors(objects, generator)[0] >= positive_iou).mean())

    def score(generator: AnchorGenerator) -> float:
        iou, _ = best_anchors(objects, generator)
        return float(
            (iou >= positive_iou).mean()
            + MARGIN_WEIGHT * (iou >= positive_iou + MARGIN).mean()
            + MEAN_IOU_WEIGHT * iou.mean()
        )

    shaped = _rounded(_search(anchor_generator, score, ("scales", "ratios")))
    if score(shaped) <= score(anchor_generator):
        shaped = anchor_generator
    starts = [
        replace(start, sizes=[size * factor for size in start.sizes])
        for start in (anchor_generator, shaped)
        for factor in SIZE_FACTORS
    ]
    resized = _rounded(_search(max(starts, key=score), score, ("sizes", "scales", "ratios")))
    is_worth_it = recall(resized) >= recall(shaped) + MIN_GAIN_OF_SIZES
    return resized if is_worth_it and score(resized) > score(shaped) else shaped


def _search(
    generator: AnchorGenerator, score: Score, names: Sequence[NumbersName]
) -> AnchorGenerator:
    """Raise the score by changing one number at a time, in ever smaller steps."""
    best = score(generator)
    for step in STEPS:
        for _ in range(MAX_ROUNDS):
            generator, value = _improve(generator, score, names, best=best, step=step)
            if value == best:
                break
            best = value
    return generator


def _improve(
    generator: AnchorGenerator,
    score: Score,
    names: Sequence[NumbersName],
    *,
    best: float,
    step: float,
) -> tuple[AnchorGenerator, float]:
    """Try each number times `step` and divided by it; return the anchors and their score."""
    for name in names:
        for i in range(len(_numbers(generator)[name])):
            for factor in (step, 1 / step):
                changed = _scaled(generator, name, i, factor)
                if _is_ordered(changed) and (value := score(changed)) > best:
                    generator, best = changed, value
                    break
    return generator, best


def _numbers(generator: AnchorGenerator) -> dict[NumbersName, Sequence[float]]:
    return {"sizes": generator.sizes, "scales": generator.scales, "ratios": generator.ratios}


def _scaled(
    generator: AnchorGenerator, name: NumbersName, i: int, factor: float
) -> AnchorGenerator:
    """Return the anchors with the i-th of the numbers `name` times `factor`."""
    numbers = _numbers(generator)
    values = list(numbers[name])
    values[i] *= factor
    numbers[name] = values
    return replace(
        generator, sizes=numbers["sizes"], scales=numbers["scales"], ratios=numbers["ratios"]
    )


def _is_ordered(generator: AnchorGenerator) -> bool:
    """Whether higher levels have larger anchors."""
    return all(a < b for a, b in zip(generator.sizes, generator.sizes[1:]))


def _rounded(generator: AnchorGenerator) -> AnchorGenerator:
    """Return the anchors in ascending numbers of three digits."""

    def readable(values: Sequence[float]) -> list[float]:
        return sorted(float(f"{value:.3g}") for value in values)

    return replace(
        generator,
        sizes=readable(generator.sizes),
        scales=readable(generator.scales),
        ratios=readable(generator.ratios),
    )


def _sample(parts: Sequence[ScaledObjects], rng: np.random.Generator) -> ScaledObjects:
    """Put the objects of all training sizes together, at most MAX_FITTED_OBJECTS of them."""
    boxes = np.concatenate([part.boxes for part in parts])
    canvas = np.concatenate([part.canvas for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    if len(boxes) > MAX_FITTED_OBJECTS:
        picked = np.sort(rng.choice(len(boxes), MAX_FITTED_OBJECTS, replace=False))
        boxes, canvas, rows = boxes[picked], canvas[picked], rows[picked]
    return ScaledObjects(boxes, canvas, rows)
