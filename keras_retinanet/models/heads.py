"""The two subnets: small convolutional heads shared by all levels (section 4, "Subnet")."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from keras_retinanet.conventions import HEAD_INIT_STDDEV

Tensor = Any


def shared_head(
    *, name: str, outputs_per_anchor: int, num_anchors: int, channels: int, depth: int, bias: float
) -> Callable[[list[Tensor]], Tensor]:
    """Return a function from the levels' maps to predictions [B, anchors, outputs_per_anchor].

    `depth` 3x3 convolutions with ReLU, then one with `num_anchors * outputs_per_anchor` filters
    whose bias starts at `bias`; channel = anchor * outputs_per_anchor + output. All kernels start
    Gaussian with sigma 0.01 (section 4.1, "Initialization"). Predictions are float32.
    """

    def conv(filters: int, suffix: str, **options: Any) -> layers.Conv2D:
        return layers.Conv2D(
            filters,
            3,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(stddev=HEAD_INIT_STDDEV),
            name=f"{name}_{suffix}",
            **options,
        )

    tower = [conv(channels, f"conv_{i}", activation="relu") for i in range(depth)]
    # float32 whatever the policy: losses and scores need the precision, and it is one layer.
    predict = conv(
        num_anchors * outputs_per_anchor,
        "predictions",
        bias_initializer=keras.initializers.Constant(bias),
        dtype="float32",
    )

    def apply(levels: list[Tensor]) -> Tensor:
        predictions = []
        for i, x in enumerate(levels):
            for layer in tower:
                x = layer(x)
            flat = layers.Reshape(
                (-1, outputs_per_anchor), dtype="float32", name=f"{name}_flat_{i}"
            )
            predictions.append(flat(predict(x)))
        return layers.Concatenate(axis=1, dtype="float32", name=f"{name}_outputs")(predictions)

    return apply


def prior_bias(prior: float) -> float:
    """Return the logit at which every anchor starts as foreground with probability `prior`."""
    return -math.log((1.0 - prior) / prior)
