"""ResNets (He et al. 2016, table 1).

ResNet-50/101/152 are `keras.applications`' originals, the ones that the paper used: stride in the
first 1x1 of a bottleneck, "caffe" preprocessing. ResNet-18/34 are built here, since
`keras.applications` has none.
"""

from collections.abc import Callable

import keras
from keras import layers, ops

from keras_retinanet.conventions import Tensor
from keras_retinanet.errors import WeightsError
from keras_retinanet.models.pretrained import with_weights_error

# keras.applications' "caffe" mode: BGR minus the ImageNet mean.
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
# torchvision's ImageNet statistics of RGB in 0...255.
IMAGENET_MEAN_RGB = (123.675, 116.28, 103.53)
IMAGENET_STD_RGB = (58.395, 57.12, 57.375)

# Batch statistics of a short training from random values settle faster than with Keras' 0.99.
BASIC_BN_MOMENTUM = 0.9
BASIC_BN_EPSILON = 1e-5


def bottleneck_resnet(application: Callable, blocks: tuple[int, int, int]) -> Callable:
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


def basic_resnet(blocks: tuple[int, int, int, int]) -> Callable:
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
