"""Backbones: feature maps C3, C4 and C5 (strides 8, 16, 32) of RGB images in 0...255.

ResNet-50/101/152 are `keras.applications`' originals, the ones that the paper used: stride in the
first 1x1 of a bottleneck, "caffe" preprocessing. ResNet-18/34 (He et al. 2016, table 1) are built
here, since `keras.applications` has none. MobileNetV2 is in a file of its own.
"""

from collections.abc import Callable
from itertools import chain

import keras
from keras import layers, ops

from keras_retinanet.conventions import STAGE_PREFIXES, Tensor
from keras_retinanet.errors import WeightsError
from keras_retinanet.models.backbones.mobilenet import mobilenet_v2
from keras_retinanet.models.pretrained import with_weights_error

# keras.applications' "caffe" mode: BGR minus the ImageNet mean.
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
# torchvision's ImageNet statistics of RGB in 0...255.
IMAGENET_MEAN_RGB = (123.675, 116.28, 103.53)
IMAGENET_STD_RGB = (58.395, 57.12, 57.375)

# Batch statistics of a short training from random values settle faster than with Keras' 0.99.
BASIC_BN_MOMENTUM = 0.9
BASIC_BN_EPSILON = 1e-5

BATCHNORM_MODES = ("auto", "frozen", "trainable", "synchronized")


def build_backbone(
    name: str,
    images: Tensor,
    *,
    weights: str | None,
    batchnorm: str,
    frozen_stages: int = 0,
    width: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return C3, C4, C5 of `images` [B, H, W, 3], RGB in 0...255, by the backbone `name`.

    Args:
        weights: "imagenet", the path of a Keras weights file of the backbone, or None for random
            values.
        batchnorm: "frozen" (the pretrained statistics stay), "trainable", "synchronized" (over the
            replicas), or "auto": frozen with weights, trainable without.
        frozen_stages: so many stages, from the stem (1) to C5's (5), are not trained, and their
            BatchNorm uses its statistics.

        width: multiplier of the channel numbers, where the backbone has one (MobileNet).

    Raises:
        ValueError: unknown name or mode, another number of stages, or a width for a backbone that
            has none.
        WeightsError: the weights cannot be had.
    """
    names = (*BACKBONES, *SCALABLE_BACKBONES)
    if name not in names:
        raise ValueError(f"backbone must be one of {', '.join(names)}, not {name!r}")
    if batchnorm not in BATCHNORM_MODES:
        raise ValueError(f"batchnorm must be one of {BATCHNORM_MODES}, not {batchnorm!r}")
    if not 0 <= frozen_stages <= len(STAGE_PREFIXES):
        raise ValueError(f"frozen_stages must be 0 to {len(STAGE_PREFIXES)}, not {frozen_stages!r}")
    if name in SCALABLE_BACKBONES:
        features = SCALABLE_BACKBONES[name](images, weights, width)
    elif width == 1.0:
        features = BACKBONES[name](images, weights)
    else:
        raise ValueError(f"width = {width:g} is for {', '.join(SCALABLE_BACKBONES)}, not {name}")
    if batchnorm == "auto":
        batchnorm = "frozen" if weights else "trainable"
    for layer in keras.Model(images, features).layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = batchnorm != "frozen"
            layer.synchronized = batchnorm == "synchronized"
        if layer.name.startswith(tuple(chain.from_iterable(STAGE_PREFIXES[:frozen_stages]))):
            layer.trainable = False
    return features


def _bottleneck_resnet(application: Callable, blocks: tuple[int, int, int]) -> Callable:
    """Return a builder of a `keras.applications` ResNet with `blocks` in stages 3, 4 and 5."""

    def build(images: Tensor, weights: str | None) -> tuple[Tensor, ...]:
        x = ops.flip(images, axis=-1)
        x = layers.Rescaling(
            1.0, offset=[-m for m in CAFFE_MEAN_BGR], dtype="float32", name="preprocessing"
        )(x)
        model = with_weights_error(
            lambda: application(include_top=False, weights=weights, input_tensor=x), weights
        )
        return tuple(
            model.get_layer(f"conv{stage}_block{count}_out").output
            for stage, count in zip((3, 4, 5), blocks, strict=True)
        )

    return build


def _basic_resnet(blocks: tuple[int, int, int, int]) -> Callable:
    """Return a builder of a ResNet of two-convolution blocks, `blocks` in stages 2 to 5."""

    def build(images: Tensor, weights: str | None) -> tuple[Tensor, ...]:
        x = layers.Rescaling(
            [1.0 / s for s in IMAGENET_STD_RGB],
            offset=[-m / s for m, s in zip(IMAGENET_MEAN_RGB, IMAGENET_STD_RGB, strict=True)],
            dtype="float32",
            name="preprocessing",
        )(images)
        x = _conv_bn(x, 64, kernel=7, strides=2, name="conv1", relu=True)
        x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
        stages = []
        for stage, count in enumerate(blocks):
            for block in range(count):
                x = _basic_block(
                    x,
                    filters=64 * 2**stage,
                    strides=2 if stage > 0 and block == 0 else 1,
                    name=f"conv{stage + 2}_block{block + 1}",
                )
            stages.append(x)
        if weights == "imagenet":
            raise WeightsError(
                "keras.applications has no ImageNet weights for ResNet-18 and ResNet-34: "
                "give model.weights=none, or the path of a weights file"
            )
        if weights:
            backbone = keras.Model(images, stages[-1])
            with_weights_error(lambda: backbone.load_weights(weights), weights)
        return tuple(stages[1:])

    return build


def _basic_block(x: Tensor, *, filters: int, strides: int, name: str) -> Tensor:
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _conv_bn(x, filters, kernel=1, strides=strides, name=f"{name}_0")
    x = _conv_bn(x, filters, kernel=3, strides=strides, name=f"{name}_1", relu=True)
    x = _conv_bn(x, filters, kernel=3, strides=1, name=f"{name}_2")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _conv_bn(
    x: Tensor, filters: int, *, kernel: int, strides: int, name: str, relu: bool = False
) -> Tensor:
    x = layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(
        momentum=BASIC_BN_MOMENTUM, epsilon=BASIC_BN_EPSILON, name=f"{name}_bn"
    )(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


# The builders by name; each takes images and weights and returns C3, C4, C5.
BACKBONES: dict[str, Callable] = {
    "resnet18": _basic_resnet((2, 2, 2, 2)),
    "resnet34": _basic_resnet((3, 4, 6, 3)),
    "resnet50": _bottleneck_resnet(keras.applications.ResNet50, (4, 6, 3)),
    "resnet101": _bottleneck_resnet(keras.applications.ResNet101, (4, 23, 3)),
    "resnet152": _bottleneck_resnet(keras.applications.ResNet152, (8, 36, 3)),
}
# These take a width, too.
SCALABLE_BACKBONES: dict[str, Callable] = {"mobilenet_v2": mobilenet_v2}
