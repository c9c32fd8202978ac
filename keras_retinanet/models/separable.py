"""Depthwise separable convolutions with batch normalisation, for light pyramids and heads.

A k x k kernel for each channel, then 1x1 over the channels: about a ninth of a 3x3 convolution's
multiplications (MobileNet's, EfficientDet's and SSDLite's building block). Two thin linear maps in
a row shrink what RetinaNet's Gaussian of 0.01 leaves of a signal to nothing, so that such layers
are normalised; and normalised maps have ranges that 8 bits can hold.
"""

from typing import Any

import keras
from keras import layers

# 9 weights of variance 1/9 keep the variance of a channel.
DEPTHWISE_INIT_STDDEV = 1.0 / 3.0
# As MobileNet's: settles in a few hundred steps, over the few cells that P7 has.
BN_MOMENTUM = 0.97


def separable_conv(filters: int, *, name: str, **options: Any) -> layers.SeparableConv2D:
    """Return a 3x3 depthwise separable convolution with "same" padding; no bias by default."""
    options = {"use_bias": False, "pointwise_initializer": "he_normal", **options}
    return layers.SeparableConv2D(
        filters,
        3,
        padding="same",
        depthwise_initializer=keras.initializers.RandomNormal(stddev=DEPTHWISE_INIT_STDDEV),
        name=name,
        **options,
    )


def batch_norm(name: str, *, synchronized: bool) -> layers.BatchNormalization:
    return layers.BatchNormalization(momentum=BN_MOMENTUM, synchronized=synchronized, name=name)
