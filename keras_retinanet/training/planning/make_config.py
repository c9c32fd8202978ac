"""`plan_training`: a config made for a data set, a machine and a time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_retinanet.config.load import nested_overrides
from keras_retinanet.config.schema import Config
from keras_retinanet.config.yaml_files import validated
from keras_retinanet.data.checks.anchor_recall import scale_objects
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.tiles import cut_into_tiles
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.training.planning import model_rules, training_rules
from keras_retinanet.training.planning.data_limits import limits_of_data, limits_of_size
from keras_retinanet.training.planning.decision import Decision, config_of, with_given
from keras_retinanet.training.planning.input_size import (
    PHONE_SIZES,
    SIZES,
    WELL_VISIBLE,
    InputSize,
    Worth,
    best,
    candidates,
    sampled,
    tilings,
    weigh,
)
from keras_retinanet.training.planning.model_rules import Target
from keras_retinanet.training.planning.resources import Resources
from keras_retinanet.training.planning.starting_weights import StartingWeights
from keras_retinanet.training.planning.step_trial import StepTimes
from keras_retinanet.training.planning.timed_network import PROBES, TimedNetwork
from keras_retinanet.training.planning.training_rules import Length

# Of the time: for what takes longer than the timed steps did.
MARGIN = 0.12
# Seconds for the report of the last evaluation, and for writing models.
END_SECONDS = 15.0
# Of the time that evaluations may take, and how many there are at most.
EVALUATED_SHARE, MOST_EVALUATIONS = 0.1, 5
# An image that was shown so often has no more to teach.
MOST_VIEWS = 200
FEWEST_EPOCHS, FEWEST_STEPS = 4, 20
# Less than this share of what could be learnt is told.
LITTLE_LEARNT = 0.6

_NO_LIMIT = 1_000_000


@dataclass(frozen=True)
class PlannedConfig:
    """What was planned.

    Attributes:
        decisions: every setting that differs from the defaults, or was looked at, with its reason.
        limits: what the data, or the time, cannot give.
        config: the same as a config.
        length: of the training.
    """

    decisions: list[Decision]
    limits: list[str]
    config: Config
    length: Length


def plan_training(
    train: DetectionDataset,
    val: DetectionDataset | None,
    resources: Resources,
    *,
    minutes: float,
    time_steps: Callable[[Config], StepTimes],
    target: Target = "server",
    overrides: Sequence[str] = (),
) -> PlannedConfig:
    """Return a config with which a training on this machine takes the given time.

    Args:
        minutes: of the training, from its start to its report.
        time_steps: times a config's steps on the data set.
        overrides: "key=value" settings that are given; they take the place of decisions.

    Raises:
        ConfigError: an override is no setting; the time is too short for any training.
        DataError: there is no object to learn.
    """
    if train.is_ignored.all():
        raise DataError("the split train has no object: there is nothing to plan for")
    given = _given(overrides)
    resources = _with_given_backbone(resources, given)
    limits = limits_of_data(train, val)
    usual = training_rules.batch_size_for(resources, len(train))
    batch_size = int(given.get("training.batch_size", usual))
    decided = [
        *model_rules.network(resources, target=target),
        *training_rules.optimizer(resources, batch_size),
    ]
    seconds = minutes * 60 * (1 - MARGIN)
    sample = sampled(train)
    resize = given.get("image.resize", "stretch" if target == "edge" else "shorter_side")
    timed = TimedNetwork(
        time_steps,
        decided,
        given,
        resize,
        cache=lambda size: training_rules.cache(train, resources, size),
    ).in_quickest_precision()
    worth, times = _input_size(timed, sample, len(train), seconds, resources, target=target)
    length = _length(times, worth, minutes, batch_size, 0 if val is None else len(val))
    size = worth.size
    cut = sample if size.tiling is None else cut_into_tiles(sample, size.tiling, min_visible=0.25)
    has_val = val is not None
    decided = [
        *timed.decided,
        *model_rules.images(worth, minutes=minutes, dataset=train),
        *model_rules.anchors(cut, size.policy, target=target),
        *model_rules.losses(
            target=target, begins_from_detector=given.get("model.init_from") is not None
        ),
        *training_rules.augmentation(length),
        *training_rules.schedule(length, minutes=minutes, has_val=has_val),
        *training_rules.rare_classes(train),
        *training_rules.cache(train, resources, size),
        *model_rules.detections(train, has_val=has_val, target=target),
    ]
    scaled = scale_objects(cut, size.policy, size.policy.size)
    sides = np.sqrt((scaled.boxes[:, 2:] - scaled.boxes[:, :2]).prod(axis=1))
    limits += limits_of_size(sides) + _limits_of_time(worth, length, resources, minutes)
    decisions = with_given(decided, given)
    return PlannedConfig(decisions, limits, config_of(decisions), length)


def _input_size(
    timed: TimedNetwork,
    sample: DetectionDataset,
    num_images: int,
    seconds: float,
    resources: Resources,
    *,
    target: Target,
) -> tuple[Worth, StepTimes]:
    """Return the best input size, and the times of its steps."""
    probes = [timed(timed.whole(size)) for size in PROBES]
    low, high = sorted(probes, key=lambda times: times.pixels)
    slope = max(0.0, high.step - low.step) / max(1.0, high.pixels - low.pixels)

    def seen_in_time(pixels: float) -> float:
        step = max(low.step + slope * (pixels - low.pixels), low.step * pixels / low.pixels / 2)
        left = seconds * (1 - EVALUATED_SHARE) - END_SECONDS - high.start
        return min(max(left, step) / step * timed.batch_size, MOST_VIEWS * num_images)

    def weighed(sizes: Sequence[InputSize]) -> list[Worth]:
        return [
            weigh(
                sample,
                size,
                num_images=num_images,
                seen_in_time=seen_in_time,
                is_pretrained=resources.weights.name is not None,
            )
            for size in sizes
        ]

    sizes = PHONE_SIZES if target == "edge" else SIZES
    found = weighed(candidates(sample, sizes=sizes, resize=timed.resize))
    chosen = best(found)
    if chosen.visibility < WELL_VISIBLE and target == "server":
        cut = weighed(tilings(sample))
        if cut and best(cut).total > chosen.total:
            chosen = best(cut)
    if (given := timed.given_size()) is not None:
        (chosen,) = weighed([given])
    return chosen, timed(chosen.size)


def _length(
    times: StepTimes, worth: Worth, minutes: float, batch_size: int, num_val: int
) -> Length:
    """Return how many steps there is time for.

    Raises:
        ConfigError: for hardly any.
    """
    around = times.start + END_SECONDS
    left = minutes * 60 * (1 - MARGIN) - around
    evaluation = num_val * times.evaluated
    evaluations = 0
    if num_val:
        evaluations = max(1, min(MOST_EVALUATIONS, int(left * EVALUATED_SHARE / evaluation)))
    steps = int((left - evaluations * evaluation) / times.step)
    if steps < FEWEST_STEPS:
        least = (around + evaluation + FEWEST_STEPS * times.step) / (1 - MARGIN)
        raise ConfigError(
            f"{minutes:g} minutes are too short: starting, evaluating and {FEWEST_STEPS} steps "
            f"take {least / 60:.1f}; give more --minutes"
        )
    steps_of_all = math.ceil(worth.num_images / batch_size)
    steps = min(steps, MOST_VIEWS * steps_of_all)
    epoch_images = None
    epochs = steps // steps_of_all
    per_epoch = steps_of_all
    if epochs < FEWEST_EPOCHS:
        epochs = FEWEST_EPOCHS
        per_epoch = steps // epochs
        epoch_images = per_epoch * batch_size
    steps = epochs * per_epoch
    spent = around + evaluations * evaluation + steps * times.step
    return Length(
        epochs=epochs,
        steps=steps,
        epoch_images=epoch_images,
        views=steps * batch_size / max(1, worth.num_images),
        evaluations=min(evaluations, epochs),
        seconds=spent,
    )


def _limits_of_time(
    worth: Worth, length: Length, resources: Resources, minutes: float
) -> list[str]:
    limits = []
    if worth.learnt < LITTLE_LEARNT:
        limits.append(
            f"{minutes:g} minutes on {resources.device} show each image {length.views:.1f} times: "
            "AP will still be rising at the end; more minutes give more"
        )
    if resources.weights.name is None:
        limits.append(f"training begins from random values: {resources.weights.reason}")
    return limits


def _given(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the settings that were given, by key.

    Raises:
        ConfigError: one is unknown, or has no such value.
    """
    values = nested_overrides(overrides)
    # What the plan chooses itself fits what was given.
    image = {"size": PROBES[0], "max_size": _NO_LIMIT, **values.get("image", {})}
    validated(Config, {**values, "image": image}, " ".join(overrides) or "the settings given")
    return {f"{s}.{k}": v for s, vs in values.items() for k, v in vs.items()}


def _with_given_backbone(resources: Resources, given: dict[str, Any]) -> Resources:
    """Return the resources without the weights of another backbone than the one that was given."""
    backbone = given.get("model.backbone")
    if backbone in (None, resources.weights.settings.get("model.backbone")):
        return resources
    weights = given.get("model.weights", "none")
    return replace(
        resources,
        weights=StartingWeights(
            None if weights == "none" else weights,
            {"model.backbone": backbone, "model.weights": weights},
            f"none are known for {backbone}, which was given: name some with model.weights",
        ),
    )
