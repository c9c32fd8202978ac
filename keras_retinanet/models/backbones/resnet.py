"""ResNets (He et al. 2016, table 1).

ResNet-50/101/152 are `keras.applications`' originals, the ones that the paper used: stride in the
first 1x1 of a bottleneck, "caffe" preprocessing. ResNet-18/34 are built here, since
`keras.applications` has none, and so are those of "v1.5" (torchvision's): stride in the 3x3.
"""

from collections.abc import Callable

import keras
from keras import layers

from keras_retinanet.conventions import Tensor
from keras_retinanet.errors import WeightsError
from keras_retinanet.models.pretrained import with_weights_error
from keras_retinanet.models.variant import PAPER, PIXEL_SCALINGS, NetworkVariant

# Batch statistics of a short training from random values settle faster than with Keras' 0.99.
BASIC_BN_MOMENTUM = 0.9
BASIC_BN_EPSILON = 1e-5
Features = tuple[Tensor, ...]
# Output channels of a bottleneck in those of its 3x3 convolution.
BOTTLENECK_EXPANSION = 4


def bottleneck_resnet(application: Callable, blocks: tuple[int, int, int]) -> Callable:
    """Return a builder of a `keras.applications` ResNet with `blocks` in stages 3, 4 and 5."""

    def build(images: Tensor, weights: str | None, variant: NetworkVariant = PAPER) -> Features:
        if variant.padding == "same":
            raise ValueError("padding = 'same' does not go with this backbone: it is symmetric")
        x = (variant.pixel_scaling or PIXEL_SCALINGS["caffe"])(images)
        model = with_weights_error(
            lambda: application(include_top=False, weights=weights, input_tensor=x), weights
        )
        if variant.pool_padding == "same":
            model = _with_pool_padded_same(model, images)
        return tuple(
            model.get_layer(f"conv{stage}_block{count}_out").output
            for stage, count in zip((3, 4, 5), blocks, strict=True)
        )

    return build


def basic_resnet(blocks: tuple[int, int, int, int]) -> Callable:
    """Return a builder of a ResNet of two-convolution blocks, `blocks` in stages 2 to 5."""
    return _resnet(blocks, _basic_block, padding="same")


def bottleneck_resnet_v1_5(blocks: tuple[int, int, int, int]) -> Callable:
    """Return a builder of a ResNet with the stride in each bottleneck's 3x3, padded as torch does.

    Layers are named as those of `keras.applications`' ResNets; convolutions have no biases.
    """
    return _resnet(blocks, _bottleneck_block, padding="symmetric")


def _resnet(blocks: tuple[int, int, int, int], block: Callable, *, padding: str) -> Callable:
    def build(images: Tensor, weights: str | None, variant: NetworkVariant = PAPER) -> Features:
        x = (variant.pixel_scaling or PIXEL_SCALINGS["torch"])(images)
        padded = variant.padding or padding
        x = _conv_bn(x, 64, kernel=7, strides=2, name="conv1", relu=True, padding=padded)
        x = _pool(x, variant.pool_padding or padded)
        stages = []
        for stage, count in enumerate(blocks):
            for i in range(count):
                x = block(
                    x,
                    filters=64 * 2**stage,
                    strides=2 if stage > 0 and i == 0 else 1,
                    name=f"conv{stage + 2}_block{i + 1}",
                    padding=padded,
                )
            stages.append(x)
        if weights == "imagenet":
            raise WeightsError(
                "keras.applications has no ImageNet weights for ResNet-18 and ResNet-34, nor for "
                "ResNets of v1.5: give model.weights=none, or the path of a weights file"
            )
        if weights:
            backbone = keras.Model(images, stages[-1])
            with_weights_error(lambda: backbone.load_weights(weights), weights)
        return tuple(stages[1:])

    return build


def _basic_block(
    x: Tensor, *, filters: int, strides: int, name: str, padding: str = "same"
) -> Tensor:
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _conv_bn(x, filters, kernel=1, strides=strides, name=f"{name}_0")
    x = _conv_bn(
        x, filters, kernel=3, strides=strides, name=f"{name}_1", relu=True, padding=padding
    )
    x = _conv_bn(x, filters, kernel=3, strides=1, name=f"{name}_2")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _bottleneck_block(x: Tensor, *, filters: int, strides: int, name: str, padding: str) -> Tensor:
    shortcut, outputs = x, BOTTLENECK_EXPANSION * filters
    if strides != 1 or x.shape[-1] != outputs:
        shortcut = _conv_bn(x, outputs, kernel=1, strides=strides, name=f"{name}_0")
    x = _conv_bn(x, filters, kernel=1, strides=1, name=f"{name}_1", relu=True)
    x = _conv_bn(
        x, filters, kernel=3, strides=strides, name=f"{name}_2", relu=True, padding=padding
    )
    x = _conv_bn(x, outputs, kernel=1, strides=1, name=f"{name}_3")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _conv_bn(
    x: Tensor,
    filters: int,
    *,
    kernel: int,
    strides: int,
    name: str,
    relu: bool = False,
    padding: str = "same",
) -> Tensor:
    if padding == "symmetric" and strides > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
        padding = "valid"
    else:
        padding = "same"  # which is symmetric without a stride
    x = layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(
        momentum=BASIC_BN_MOMENTUM, epsilon=BASIC_BN_EPSILON, name=f"{name}_bn"
    )(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _pool(x: Tensor, padding: str) -> Tensor:
    if padding == "same":
        return layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # after a ReLU nothing is below 0
    return layers.MaxPooling2D(3, strides=2, padding="valid", name="pool1")(x)


def _with_pool_padded_same(original: keras.Model, images: Tensor) -> keras.Model:
    """Return a copy of a `keras.applications` ResNet of `images` whose pooling pads as "same"."""

    def copy(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        if layer.name == "pool1_pad":
            return layers.Identity(name=layer.name)
        if layer.name == "pool1_pool":
            config["padding"] = "same"
        return type(layer).from_config(config)

    model = keras.models.clone_model(original, input_tensors=[images], clone_function=copy)
    model.set_weights(original.get_weights())
    return model
