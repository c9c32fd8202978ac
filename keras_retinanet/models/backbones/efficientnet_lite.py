"""EfficientNet-Lite0 (Tan and Le 2019; the "Lite" of 2020): MBConv blocks made for 8 bits.

No squeeze-and-excitation, and ReLU6 in place of swish: what int8 accelerators have.
"""

from dataclasses import dataclass

import keras
from keras import layers

from keras_retinanet.conventions import Tensor
from keras_retinanet.errors import WeightsError
from keras_retinanet.models.pretrained import with_weights_error
from keras_retinanet.models.variant import PAPER, NetworkVariant, PixelScaling

# The original's constants (tpu/models/official/efficientnet/lite).
LITE_PIXEL_SCALING = PixelScaling("rgb", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
LITE_BN_EPSILON = 1e-3
# As MobileNet's here: settles in a few hundred steps.
LITE_BN_MOMENTUM = 0.97
STEM_FILTERS = 32


@dataclass(frozen=True)
class _Blocks:
    """Some MBConv blocks in a row, the first with the stride."""

    count: int
    kernel: int
    strides: int
    expansion: int
    filters: int


# The blocks up to each of the strides 2 (after the stem's), 4, 8, 16 and 32.
STAGES = (
    (_Blocks(1, 3, 1, 1, 16),),
    (_Blocks(2, 3, 2, 6, 24),),
    (_Blocks(2, 5, 2, 6, 40),),
    (_Blocks(3, 3, 2, 6, 80), _Blocks(3, 5, 1, 6, 112)),
    (_Blocks(4, 5, 2, 6, 192), _Blocks(1, 3, 1, 6, 320)),
)


def efficientnet_lite0(
    images: Tensor, weights: str | None, variant: NetworkVariant = PAPER
) -> tuple[Tensor, ...]:
    """Return C3, C4, C5 (40, 112 and 320 channels) for `images`, RGB in 0...255.

    Args:
        weights: the path of a Keras weights file of this backbone, or None.

    Raises:
        WeightsError: the weights cannot be had.
    """
    variant.refuse("padding", "pool_padding", reason="efficientnet_lite0, which pads as 'same'")
    x = (variant.pixel_scaling or LITE_PIXEL_SCALING)(images)
    conv = layers.Conv2D(
        STEM_FILTERS, 3, strides=2, padding="same", use_bias=False, name="conv1_conv"
    )
    x = _normalized(conv(x), "conv1", relu=True)
    outputs = []
    for stage, groups in enumerate(STAGES):
        number = 0
        for blocks in groups:
            for i in range(blocks.count):
                number += 1
                name = f"conv{stage + 1}_block{number}"
                x = _block(x, blocks, strides=blocks.strides if i == 0 else 1, name=name)
        outputs.append(x)
    if weights == "imagenet":
        raise WeightsError(
            "keras.applications has no ImageNet weights for EfficientNet-Lite0: give "
            "model.weights=none, or the path of a weights file"
        )
    if weights:
        backbone = keras.Model(images, x)
        with_weights_error(lambda: backbone.load_weights(weights), weights)
    return tuple(outputs[2:])


def _block(inputs: Tensor, blocks: _Blocks, *, strides: int, name: str) -> Tensor:
    x = inputs
    if blocks.expansion != 1:
        filters = blocks.expansion * inputs.shape[-1]
        conv = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_expand_conv")
        x = _normalized(conv(x), f"{name}_expand", relu=True)
    conv = layers.DepthwiseConv2D(
        blocks.kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        name=f"{name}_depthwise_conv",
    )
    x = _normalized(conv(x), f"{name}_depthwise", relu=True)
    conv = layers.Conv2D(blocks.filters, 1, use_bias=False, name=f"{name}_project_conv")
    x = _normalized(conv(x), f"{name}_project", relu=False)
    if strides == 1 and inputs.shape[-1] == blocks.filters:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x


def _normalized(x: Tensor, name: str, *, relu: bool) -> Tensor:
    x = layers.BatchNormalization(
        momentum=LITE_BN_MOMENTUM, epsilon=LITE_BN_EPSILON, name=f"{name}_bn"
    )(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x
