"""From the config to the model and its loss."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_retinanet.config.schema import AnchorConfig, Config, LossConfig, MatchingConfig
from keras_retinanet.data.pipeline.targets import Matching
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.atss import match_atss
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.matching import match_regions
from keras_retinanet.geometry.tiling import WHOLE_IMAGES, Tiling
from keras_retinanet.losses import (
    OHEM,
    BalancedCrossEntropy,
    CIoULoss,
    DetectionLoss,
    DIoULoss,
    FocalLoss,
    FocalLossStar,
    GIoULoss,
    HingeLoss,
    OHEM1To3,
    QualityFocalLoss,
    SmoothL1,
    SoftmaxFocalLoss,
    VarifocalLoss,
)
from keras_retinanet.losses.task_aligned import TaskAlignedDetectionLoss, TaskAlignedMatching
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.variant import NetworkVariant
from keras_retinanet.training.named_parts import is_dotted, own_backbone, own_loss
from keras_retinanet.weights.import_backbone import has_others_values, import_backbone

# Those that a model and its section of a config both have.
SAME_SETTINGS = (
    *("frozen_stages", "width", "separable", "fpn_channels", "head_channels", "head_depth"),
    *("prior", "box_quality"),
)


def build_model(config: Config, class_names: tuple[str, ...]) -> RetinaNet:
    """Return the model that the config describes, with fresh heads for the classes."""
    model = config.model
    is_of_others = has_others_values(model.weights)
    network = RetinaNet(
        own_backbone(model.backbone),
        class_names=class_names,
        weights=None if is_of_others or model.weights == "none" else model.weights,
        batchnorm="frozen" if is_of_others and model.batchnorm == "auto" else model.batchnorm,
        **{name: getattr(model, name) for name in SAME_SETTINGS},
        class_activation="softmax" if config.loss.class_loss == "softmax_focal" else "sigmoid",
        anchor_generator=make_anchor_generator(config),
        box_coder=BoxCoder(variances=model.box_variances),
        input_policy=make_input_policy(config),
        inference=InferenceSettings(**config.inference.model_dump(exclude={"thresholds"})),
        tiling=make_tiling(config),
        variant=NetworkVariant.of(model),
        dtype=model.precision,
    )
    if is_of_others:
        import_backbone(network, model.weights)
    return network


def make_anchor_generator(config: Config) -> AnchorGenerator:
    matching = {"positive_iou", "negative_iou", *MatchingConfig.model_fields}
    return AnchorGenerator(**config.anchors.model_dump(exclude=matching))


def make_matching(config: Config) -> Matching | None:
    """Return what matches anchors in place of `match_anchors` and its thresholds, if anything."""
    return MATCHINGS[config.anchors.matching](config.anchors)


def make_input_policy(config: Config) -> InputPolicy:
    others = {"jitter_sizes", "horizontal_flip", "vertical_flip", "tile"}
    return InputPolicy(**config.image.model_dump(exclude=others))


def make_tiling(config: Config) -> Tiling:
    tile = config.image.tile
    return WHOLE_IMAGES if tile is None else Tiling(**tile.model_dump())


def make_loss(config: Config) -> DetectionLoss:
    loss = config.loss
    parts = {
        "class_loss": _loss(loss.class_loss, "loss.class_loss", CLASS_LOSSES, loss),
        "box_loss": _loss(loss.box_loss, "loss.box_loss", BOX_LOSSES, loss),
        "box_weight": loss.box_weight,
        "box_quality_weight": loss.box_quality_weight,
        "normalizer": loss.normalizer,
    }
    return LOSSES[config.anchors.matching](config.anchors, parts)


def _task_aligned_loss(anchors: AnchorConfig, parts: dict[str, Any]) -> DetectionLoss:
    """Return the loss that matches anchors itself, by the network's outputs."""
    matching = TaskAlignedMatching(
        anchors.task_aligned_alpha,
        anchors.task_aligned_beta,
        anchors.task_aligned_candidates,
        force_match=bool(anchors.force_match),
    )
    return TaskAlignedDetectionLoss(matching=matching, **parts)


LOSSES: dict[str, Callable[[AnchorConfig, dict[str, Any]], DetectionLoss]] = {
    "iou": lambda anchors, parts: DetectionLoss(**parts),
    "atss": lambda anchors, parts: DetectionLoss(**parts),
    "task_aligned": _task_aligned_loss,
}
MATCHINGS: dict[str, Callable[[AnchorConfig], Matching | None]] = {
    "iou": lambda anchors: None,
    "atss": lambda anchors: functools.partial(
        match_atss, candidates=anchors.atss_candidates, force_match=bool(anchors.force_match)
    ),
    "task_aligned": lambda anchors: match_regions,  # the loss matches the objects
}


def _loss(
    name: str,
    setting: str,
    known: dict[str, Callable[[LossConfig], keras.losses.Loss]],
    config: LossConfig,
) -> keras.losses.Loss:
    return own_loss(name, setting) if is_dotted(name) else known[name](config)


CLASS_LOSSES: dict[str, Callable[[LossConfig], keras.losses.Loss]] = {
    "focal": lambda loss: FocalLoss(gamma=loss.gamma, alpha=loss.alpha),
    "focal_star": lambda loss: FocalLossStar(
        gamma=loss.star_gamma, beta=loss.star_beta, alpha=loss.alpha
    ),
    "softmax_focal": lambda loss: SoftmaxFocalLoss(gamma=loss.gamma, alpha=loss.alpha),
    "quality_focal": lambda loss: QualityFocalLoss(beta=loss.quality_beta),
    "varifocal": lambda loss: VarifocalLoss(alpha=loss.varifocal_alpha, gamma=loss.varifocal_gamma),
    "cross_entropy": lambda loss: BalancedCrossEntropy(),
    "balanced_cross_entropy": lambda loss: BalancedCrossEntropy(alpha=loss.alpha),
    "ohem": lambda loss: OHEM(loss.ohem_batch_size, loss.ohem_nms_iou),
    "ohem_1_3": lambda loss: OHEM1To3(loss.ohem_batch_size, loss.ohem_nms_iou),
    "hinge": lambda loss: HingeLoss(threshold=loss.hinge_threshold),
}
BOX_LOSSES: dict[str, Callable[[LossConfig], keras.losses.Loss]] = {
    "smooth_l1": lambda loss: SmoothL1(beta=loss.smooth_l1_beta),
    "l1": lambda loss: SmoothL1(beta=0.0),
    "giou": lambda loss: GIoULoss(),
    "diou": lambda loss: DIoULoss(),
    "ciou": lambda loss: CIoULoss(),
}
