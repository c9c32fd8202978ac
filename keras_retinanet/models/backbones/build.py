"""Backbones: feature maps C3, C4 and C5 (strides 8, 16, 32) of RGB images in 0...255."""

from collections.abc import Callable, Iterator
from itertools import chain

import keras
from keras import layers

from keras_retinanet.conventions import STAGE_PREFIXES, Tensor
from keras_retinanet.models.backbones.custom import custom_features
from keras_retinanet.models.backbones.efficientnet_lite import efficientnet_lite0
from keras_retinanet.models.backbones.mobilenet import mobilenet_v2
from keras_retinanet.models.backbones.resnet import (
    basic_resnet,
    bottleneck_resnet,
    bottleneck_resnet_v1_5,
)
from keras_retinanet.models.variant import PAPER, NetworkVariant

# The builders by name; each takes images, weights and a variant, and returns C3, C4, C5.
BACKBONES: dict[str, Callable] = {
    "resnet18": basic_resnet((2, 2, 2, 2)),
    "resnet34": basic_resnet((3, 4, 6, 3)),
    "resnet50": bottleneck_resnet(keras.applications.ResNet50, (4, 6, 3)),
    "resnet101": bottleneck_resnet(keras.applications.ResNet101, (4, 23, 3)),
    "resnet152": bottleneck_resnet(keras.applications.ResNet152, (8, 36, 3)),
    "resnet50_v1_5": bottleneck_resnet_v1_5((3, 4, 6, 3)),
    "resnet101_v1_5": bottleneck_resnet_v1_5((3, 4, 23, 3)),
    "resnet152_v1_5": bottleneck_resnet_v1_5((3, 8, 36, 3)),
    "efficientnet_lite0": efficientnet_lite0,
}
# These take a width, too.
SCALABLE_BACKBONES: dict[str, Callable] = {"mobilenet_v2": mobilenet_v2}

BATCHNORM_MODES = ("auto", "frozen", "trainable", "synchronized")


def build_backbone(
    backbone: str | keras.Model,
    images: Tensor,
    *,
    weights: str | None,
    batchnorm: str,
    frozen_stages: int = 0,
    width: float = 1.0,
    variant: NetworkVariant = PAPER,
) -> tuple[Tensor, ...]:
    """Return C3, C4, C5 of `images` [B, H, W, 3], RGB in 0...255.

    Args:
        backbone: a name, or a model of one's own (`custom.feature_model`).
        weights: of a named backbone: "imagenet", the path of a Keras weights file, or None for
            random values. A model brings its own.
        batchnorm: "frozen" (the pretrained statistics stay), "trainable", "synchronized" (over the
            replicas), or "auto": frozen with weights, trainable without, and as a model has it.
        frozen_stages: so many stages of a named backbone, from the stem (1) to C5's (5), are not
            trained, and their BatchNorm uses its statistics.
        width: multiplier of the channel numbers, where the backbone has one (MobileNet).
        variant: of a named backbone, pixel scaling, BatchNorm epsilon and padding.

    Raises:
        ValueError: unknown name or mode, another number of stages, a width for a backbone that has
            none, or a model that does not fit.
        WeightsError: the weights cannot be had.
    """
    if batchnorm not in BATCHNORM_MODES:
        raise ValueError(f"batchnorm must be one of {BATCHNORM_MODES}, not {batchnorm!r}")
    if not 0 <= frozen_stages <= len(STAGE_PREFIXES):
        raise ValueError(f"frozen_stages must be 0 to {len(STAGE_PREFIXES)}, not {frozen_stages!r}")
    if not isinstance(backbone, str):
        if frozen_stages or width != 1.0:
            raise ValueError("frozen_stages and width are for backbones that are given by name")
        features = custom_features(backbone, images, variant)
    else:
        features = _named(backbone, images, weights, width, variant)
        if batchnorm == "auto":
            batchnorm = "frozen" if weights else "trainable"
    prefixes = tuple(chain.from_iterable(STAGE_PREFIXES[:frozen_stages]))
    for layer in _flat(keras.Model(images, features)):
        if isinstance(layer, layers.BatchNormalization) and batchnorm != "auto":
            layer.trainable = batchnorm != "frozen"
            layer.synchronized = batchnorm == "synchronized"
        if layer.name.startswith(prefixes):
            layer.trainable = False
    return features


def _named(
    name: str, images: Tensor, weights: str | None, width: float, variant: NetworkVariant
) -> tuple[Tensor, ...]:
    names = (*BACKBONES, *SCALABLE_BACKBONES)
    if name not in names:
        raise ValueError(f"backbone must be one of {', '.join(names)}, not {name!r}")
    if name in SCALABLE_BACKBONES:
        features = SCALABLE_BACKBONES[name](images, weights, width, variant)
    elif width != 1.0:
        raise ValueError(f"width = {width:g} is for {', '.join(SCALABLE_BACKBONES)}, not {name}")
    else:
        features = BACKBONES[name](images, weights, variant)
    if variant.batchnorm_epsilon is not None:
        for layer in _flat(keras.Model(images, features)):
            if isinstance(layer, layers.BatchNormalization):
                layer.epsilon = variant.batchnorm_epsilon
    return features


def _flat(model: keras.Model) -> Iterator[layers.Layer]:
    """Yield the layers of a model and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flat(layer)
        yield layer
