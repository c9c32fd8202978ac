"""The feature pyramid as other projects build it: padding, upsampling, norms, source of P6."""

from collections.abc import Callable
from functools import partial

import keras
from keras import layers, ops

from keras_retinanet.conventions import LEVELS, Tensor
from keras_retinanet.models.fpn import UpsampleLike, conv
from keras_retinanet.models.variant import NetworkVariant

# Keras' own, which is Model Garden's, too.
NORM_EPSILON = 1e-3


def variant_feature_pyramid(
    c3: Tensor,
    c4: Tensor,
    c5: Tensor,
    *,
    channels: int,
    variant: NetworkVariant,
    synchronized: bool,
) -> list[Tensor]:
    """Return P3 ... P7 as `feature_pyramid` does, with the same names, the variant's way.

    Args:
        synchronized: statistics of "batch" norms are taken over the replicas.
    """
    lateral = partial(conv, channels=channels, kernel=1)
    output = partial(conv, channels=channels, kernel=3)
    merge = partial(_merge, UpsampleLike if variant.fpn_upsampling == "double" else NearestLike)
    p5 = lateral(c5, name="fpn_lateral_c5")
    p4 = merge(p5, lateral(c4, name="fpn_lateral_c4"), "p4")
    p3 = merge(p4, lateral(c3, name="fpn_lateral_c3"), "p3")
    p3, p4, p5 = (output(p, name=f"fpn_output_p{i}") for i, p in ((3, p3), (4, p4), (5, p5)))
    halve = partial(_halved, channels=channels, padding=variant.fpn_padding)
    p6 = halve(c5 if variant.p6_from == "c5" else p5, name="fpn_p6")
    p7 = halve(layers.ReLU(name="fpn_p6_relu")(p6) if variant.p7_relu else p6, name="fpn_p7")
    levels = [p3, p4, p5, p6, p7]
    return levels if variant.fpn_norm == "none" else _normalized(levels, synchronized)


def _merge(upsample: Callable, top: Tensor, lateral: Tensor, level: str) -> Tensor:
    top = upsample(name=f"fpn_upsample_{level}")([top, lateral])
    return layers.Add(name=f"fpn_merge_{level}")([top, lateral])


def _halved(x: Tensor, *, channels: int, padding: str, name: str) -> Tensor:
    if padding == "symmetric":
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        padding = "valid"
    return conv(x, channels=channels, kernel=3, name=name, strides=2, padding=padding)


def _normalized(levels: list[Tensor], synchronized: bool) -> list[Tensor]:
    return [
        layers.BatchNormalization(
            epsilon=NORM_EPSILON, synchronized=synchronized, name=f"fpn_norm_p{level}"
        )(x)
        for level, x in zip(LEVELS, levels, strict=True)
    ]


@keras.saving.register_keras_serializable(package="keras_retinanet")
class NearestLike(layers.Layer):
    """Stretch the first map to the second's size: row i is the first's row i * rows // new rows."""

    def call(self, inputs: list[Tensor]) -> Tensor:
        x, like = inputs
        for axis in (1, 2):
            old, new = ops.shape(x)[axis], ops.shape(like)[axis]
            x = ops.take(x, ops.arange(new) * old // new, axis=axis)
        return x

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        top, like = input_shape
        return (*like[:3], top[3])
