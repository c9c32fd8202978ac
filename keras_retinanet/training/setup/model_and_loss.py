"""From the config to the model and its loss."""

from collections.abc import Callable

import keras

from keras_retinanet.config.schema import Config, LossConfig
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.losses import (
    OHEM,
    BalancedCrossEntropy,
    DetectionLoss,
    FocalLoss,
    FocalLossStar,
    GIoULoss,
    HingeLoss,
    OHEM1To3,
    SmoothL1,
    SoftmaxFocalLoss,
)
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.variant import NetworkVariant
from keras_retinanet.training.named_parts import is_dotted, own_backbone, own_loss


def build_model(config: Config, class_names: tuple[str, ...]) -> RetinaNet:
    """Return the model that the config describes, with fresh heads for the classes."""
    model = config.model
    return RetinaNet(
        own_backbone(model.backbone),
        class_names=class_names,
        weights=None if model.weights == "none" else model.weights,
        batchnorm=model.batchnorm,
        frozen_stages=model.frozen_stages,
        width=model.width,
        separable=model.separable,
        fpn_channels=model.fpn_channels,
        head_channels=model.head_channels,
        head_depth=model.head_depth,
        prior=model.prior,
        class_activation="softmax" if config.loss.class_loss == "softmax_focal" else "sigmoid",
        anchor_generator=make_anchor_generator(config),
        input_policy=make_input_policy(config),
        inference=InferenceSettings(**config.inference.model_dump()),
        variant=NetworkVariant.of(model),
        dtype=model.precision,
    )


def make_anchor_generator(config: Config) -> AnchorGenerator:
    matching = {"positive_iou", "negative_iou", "force_match"}
    return AnchorGenerator(**config.anchors.model_dump(exclude=matching))


def make_input_policy(config: Config) -> InputPolicy:
    augmentation = {"jitter_sizes", "horizontal_flip", "vertical_flip"}
    return InputPolicy(**config.image.model_dump(exclude=augmentation))


def make_loss(config: Config) -> DetectionLoss:
    loss = config.loss
    return DetectionLoss(
        class_loss=_loss(loss.class_loss, "loss.class_loss", CLASS_LOSSES, loss),
        box_loss=_loss(loss.box_loss, "loss.box_loss", BOX_LOSSES, loss),
        box_weight=loss.box_weight,
        normalizer=loss.normalizer,
    )


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
}
