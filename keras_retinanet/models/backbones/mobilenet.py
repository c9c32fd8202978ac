"""MobileNetV2 (Sandler et al. 2018), the backbone for phones and single-board computers."""

import keras
from keras import layers

from keras_retinanet.conventions import Tensor
from keras_retinanet.models.pretrained import with_weights_error
from keras_retinanet.models.variant import PAPER, PIXEL_SCALINGS, NetworkVariant

# The last maps of strides 8, 16 and 32: 32, 96 and 1280 channels at width 1, as the Object
# Detection API's FPNLite taps them. The bottlenecks' sums are a sixth of their expansions.
FEATURE_LAYERS = ("block_5_add", "block_12_add", "out_relu")

# keras.applications has 0.999, with which the statistics of a training of a few hundred steps from
# random values are still mostly their start.
BN_MOMENTUM = 0.97


def mobilenet_v2(
    images: Tensor, weights: str | None, width: float, variant: NetworkVariant = PAPER
) -> tuple[Tensor, ...]:
    """Return C3, C4, C5 of MobileNetV2 for `images`, RGB in 0...255.

    Args:
        weights: "imagenet" (only for the widths that Keras has), a path, or None.
        width: multiplier of all channel numbers (the paper's alpha).

    Raises:
        WeightsError: the weights cannot be had.
    """
    variant.refuse("padding", "pool_padding", reason="mobilenet_v2, which pads as 'same'")
    x = (variant.pixel_scaling or PIXEL_SCALINGS["tf"])(images)
    original = with_weights_error(
        lambda: keras.applications.MobileNetV2(
            input_shape=(None, None, 3), alpha=width, include_top=False, weights=weights
        ),
        weights,
    )
    model = keras.models.clone_model(original, input_tensors=x, clone_function=_any_size)
    model.set_weights(original.get_weights())
    return tuple(model.get_layer(name).output for name in FEATURE_LAYERS)


def _any_size(layer: layers.Layer) -> layers.Layer:
    """Return a copy of a layer of Keras' MobileNetV2 that pads sizes of any parity as "same" does.

    Keras pads by layers of their own, one pixel at bottom and right whatever the size: the same as
    "same" for even sizes, but odd ones end a row short of what the anchors expect.
    """
    config = layer.get_config()
    if isinstance(layer, layers.ZeroPadding2D):
        return layers.Identity(name=layer.name)
    if isinstance(layer, layers.DepthwiseConv2D):
        config["padding"] = "same"
    if isinstance(layer, layers.BatchNormalization):
        config["momentum"] = BN_MOMENTUM
    return type(layer).from_config(config)
