"""The feature pyramid: C3, C4, C5 -> P3 ... P7 (section 4, "Feature Pyramid Network backbone")."""

from typing import Any

import keras
from keras import layers, ops

from keras_retinanet.conventions import FPN_CHANNELS

Tensor = Any


def feature_pyramid(
    c3: Tensor, c4: Tensor, c5: Tensor, *, channels: int = FPN_CHANNELS
) -> list[Tensor]:
    """Return P3 ... P7, each with `channels` channels.

    P3-P5 are made top-down with lateral connections (Lin et al. 2017, FPN); P6 is a 3x3 stride-2
    convolution of C5, P7 the same of ReLU(P6).
    """
    p5 = _conv(c5, channels, 1, "fpn_lateral_c5")
    p4 = _merge(p5, _conv(c4, channels, 1, "fpn_lateral_c4"), "p4")
    p3 = _merge(p4, _conv(c3, channels, 1, "fpn_lateral_c3"), "p3")
    p6 = _conv(c5, channels, 3, "fpn_p6", strides=2)
    p7 = _conv(layers.ReLU(name="fpn_p6_relu")(p6), channels, 3, "fpn_p7", strides=2)
    outputs = [_conv(p, channels, 3, f"fpn_output_p{i}") for i, p in ((3, p3), (4, p4), (5, p5))]
    return [*outputs, p6, p7]


def _merge(top: Tensor, lateral: Tensor, level: str) -> Tensor:
    top = UpsampleLike(name=f"fpn_upsample_{level}")([top, lateral])
    return layers.Add(name=f"fpn_merge_{level}")([top, lateral])


def _conv(x: Tensor, channels: int, kernel: int, name: str, strides: int = 1) -> Tensor:
    # FPN's initialisation is Caffe2's XavierFill: uniform with variance 1 / fan-in.
    return layers.Conv2D(
        channels,
        kernel,
        strides=strides,
        padding="same",
        kernel_initializer=keras.initializers.VarianceScaling(1.0, "fan_in", "uniform"),
        name=name,
    )(x)


@keras.saving.register_keras_serializable(package="keras_retinanet")
class UpsampleLike(layers.Layer):
    """Double the first map's sides (nearest neighbour) and cut it to the second map's.

    A layer, since the size to cut to is only known when images have come: a side that is odd after
    stride 2 doubles to one more than its lateral map has.
    """

    def call(self, inputs: list[Tensor]) -> Tensor:
        top, like = inputs
        shape = ops.shape(top)
        doubled = ops.broadcast_to(
            top[:, :, None, :, None, :], (shape[0], shape[1], 2, shape[2], 2, shape[3])
        )
        doubled = ops.reshape(doubled, (shape[0], 2 * shape[1], 2 * shape[2], shape[3]))
        _, height, width, _ = ops.shape(like)
        return doubled[:, :height, :width]

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        top, like = input_shape
        return (*like[:3], top[3])
