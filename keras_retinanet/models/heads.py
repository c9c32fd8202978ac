"""The two subnets: small convolutional heads shared by all levels (section 4, "Subnet")."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from keras_retinanet.conventions import HEAD_INIT_STDDEV, LEVELS, Tensor
from keras_retinanet.models.prediction_conv import PredictionConv2D
from keras_retinanet.models.separable import batch_norm, separable_conv


def shared_head(
    *, name: str, outputs_per_anchor: int, num_anchors: int, channels: int, depth: int, bias: float
) -> Callable[[list[Tensor]], Tensor]:
    """Return a function from the levels' maps to predictions [B, anchors, outputs_per_anchor].

    `depth` 3x3 convolutions with ReLU, then one with `num_anchors * outputs_per_anchor` filters
    whose bias starts at `bias`; channel = anchor * outputs_per_anchor + output. All kernels start
    Gaussian with sigma 0.01 (section 4.1, "Initialization"). Predictions are float32.
    """

    tower = [
        layers.Conv2D(channels, 3, activation="relu", name=f"{name}_conv_{i}", **kernel_settings())
        for i in range(depth)
    ]
    predict = PredictionConv2D(
        num_anchors * outputs_per_anchor,
        3,
        bias_initializer=keras.initializers.Constant(bias),
        name=f"{name}_predictions",
        **kernel_settings(),
    )

    def apply(levels: list[Tensor]) -> Tensor:
        maps = []
        for x in levels:
            for layer in tower:
                x = layer(x)
            maps.append(predict(x))
        return joined(maps, outputs_per_anchor, name)

    return apply


def kernel_settings() -> dict[str, Any]:
    """Return how a subnet's convolution is padded and starts.

    Each needs an initializer of its own: one gives all of a shape the same values.
    """
    initializer = keras.initializers.RandomNormal(stddev=HEAD_INIT_STDDEV)
    return {"padding": "same", "kernel_initializer": initializer}


def light_shared_head(
    *,
    name: str,
    outputs_per_anchor: int,
    num_anchors: int,
    channels: int,
    depth: int,
    bias: float,
    synchronized: bool,
) -> Callable[[list[Tensor]], Tensor]:
    """Return as `shared_head`, with depthwise separable convolutions, normalised, and ReLU6.

    The levels share the convolutions, and each has batch normalisation of its own (as EfficientDet
    and the Object Detection API's FPNLite): statistics of levels differ, and one normalisation for
    all would fit none of them at inference. ReLU6 bounds what 8 bits have to cover.

    Args:
        synchronized: the statistics are taken over the replicas.
    """
    tower = [separable_conv(channels, name=f"{name}_conv_{i}") for i in range(depth)]
    predict = separable_conv(
        num_anchors * outputs_per_anchor,
        name=f"{name}_predictions",
        pointwise_initializer=keras.initializers.RandomNormal(stddev=HEAD_INIT_STDDEV),
        use_bias=True,
        bias_initializer=keras.initializers.Constant(bias),
        dtype="float32",
    )

    def apply(levels: list[Tensor]) -> Tensor:
        maps = []
        for level, x in zip(LEVELS, levels, strict=True):
            for i, layer in enumerate(tower):
                x = batch_norm(f"{name}_bn_{i}_p{level}", synchronized=synchronized)(layer(x))
                x = layers.ReLU(6.0, name=f"{name}_relu_{i}_p{level}")(x)
            maps.append(predict(x))
        return joined(maps, outputs_per_anchor, name)

    return apply


def joined(maps: list[Tensor], outputs_per_anchor: int, name: str) -> Tensor:
    """Return the levels' maps [B, h, w, anchors * outputs] as one [B, anchors, outputs]."""
    flat = [
        layers.Reshape((-1, outputs_per_anchor), dtype="float32", name=f"{name}_flat_{i}")(x)
        for i, x in enumerate(maps)
    ]
    return layers.Concatenate(axis=1, dtype="float32", name=f"{name}_outputs")(flat)


def prior_bias(prior: float) -> float:
    """Return the logit at which every anchor starts as foreground with probability `prior`."""
    return -math.log((1.0 - prior) / prior)
