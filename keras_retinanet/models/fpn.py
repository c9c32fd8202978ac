"""The feature pyramid: C3, C4, C5 -> P3 ... P7 (section 4, "Feature Pyramid Network backbone")."""

from collections.abc import Callable
from functools import partial

import keras
from keras import layers, ops

from keras_retinanet.conventions import FPN_CHANNELS, Tensor
from keras_retinanet.models.separable import batch_norm, separable_conv


def feature_pyramid(
    c3: Tensor, c4: Tensor, c5: Tensor, *, channels: int = FPN_CHANNELS
) -> list[Tensor]:
    """Return P3 ... P7, each with `channels` channels.

    P3-P5 are made top-down with lateral connections (Lin et al. 2017, FPN); P6 is a 3x3 stride-2
    convolution of C5, P7 the same of ReLU(P6).
    """
    return _pyramid(c3, c4, c5, conv=partial(conv, channels=channels))


def light_feature_pyramid(
    c3: Tensor, c4: Tensor, c5: Tensor, *, channels: int, synchronized: bool
) -> list[Tensor]:
    """Return P3 ... P7 of the same shape, the 3x3 convolutions depthwise separable.

    All convolutions are followed by batch normalisation, over the replicas if `synchronized`.
    """
    return _pyramid(
        c3, c4, c5, conv=partial(_normalized_conv, channels=channels, synchronized=synchronized)
    )


def _pyramid(c3: Tensor, c4: Tensor, c5: Tensor, *, conv: Callable) -> list[Tensor]:
    p5 = conv(c5, kernel=1, name="fpn_lateral_c5")
    p4 = _merge(p5, conv(c4, kernel=1, name="fpn_lateral_c4"), "p4")
    p3 = _merge(p4, conv(c3, kernel=1, name="fpn_lateral_c3"), "p3")
    p6 = conv(c5, kernel=3, name="fpn_p6", strides=2)
    p7 = conv(layers.ReLU(name="fpn_p6_relu")(p6), kernel=3, name="fpn_p7", strides=2)
    outputs = [conv(p, kernel=3, name=f"fpn_output_p{i}") for i, p in ((3, p3), (4, p4), (5, p5))]
    return [*outputs, p6, p7]


def _merge(top: Tensor, lateral: Tensor, level: str) -> Tensor:
    top = UpsampleLike(name=f"fpn_upsample_{level}")([top, lateral])
    return layers.Add(name=f"fpn_merge_{level}")([top, lateral])


def conv(
    x: Tensor, *, channels: int, kernel: int, name: str, strides: int = 1, padding: str = "same"
) -> Tensor:
    # FPN's initialisation is Caffe2's XavierFill: uniform with variance 1 / fan-in.
    return layers.Conv2D(
        channels,
        kernel,
        strides=strides,
        padding=padding,
        kernel_initializer=keras.initializers.VarianceScaling(1.0, "fan_in", "uniform"),
        name=name,
    )(x)


def _normalized_conv(
    x: Tensor, *, channels: int, kernel: int, name: str, synchronized: bool, strides: int = 1
) -> Tensor:
    if kernel == 1:
        conv = layers.Conv2D(channels, 1, use_bias=False, kernel_initializer="he_normal", name=name)
    else:
        conv = separable_conv(channels, strides=strides, name=name)
    return batch_norm(f"{name}_bn", synchronized=synchronized)(conv(x))


@keras.saving.register_keras_serializable(package="keras_retinanet")
class UpsampleLike(layers.Layer):
    """Double the first map's sides (nearest neighbour) and cut it to the second map's.

    A layer, since the size to cut to is only known when images have come: a side that is odd after
    stride 2 doubles to one more than its lateral map has.
    """

    def call(self, inputs: list[Tensor]) -> Tensor:
        top, like = inputs
        # Concatenations of at most four dimensions: every runtime has them, in 8 bits, too.
        batch, rows, columns, channels = ops.shape(top)
        x = ops.concatenate([top, top], axis=-1)
        x = ops.reshape(x, (batch, rows, 2 * columns * channels))
        x = ops.concatenate([x, x], axis=-1)
        doubled = ops.reshape(x, (batch, 2 * rows, 2 * columns, channels))
        if None not in like.shape[1:3] and doubled.shape[1:3] == like.shape[1:3]:
            return doubled  # a slice of everything would stay in exported graphs
        _, height, width, _ = ops.shape(like)
        return doubled[:, :height, :width]

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        top, like = input_shape
        return (*like[:3], top[3])
