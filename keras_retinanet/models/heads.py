"""The two subnets: small convolutional heads shared by all levels (section 4, "Subnet")."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
from keras import layers

from keras_retinanet.conventions import HEAD_INIT_STDDEV, LEVELS, Tensor
from keras_retinanet.models.prediction_conv import PredictionConv2D
from keras_retinanet.models.separable import batch_norm, separable_conv


class Prediction(NamedTuple):
    """One of the outputs of a subnet: how its layers' names begin, how many numbers an anchor has,
    and where their biases start."""

    name: str
    outputs_per_anchor: int
    bias: float = 0.0


def shared_head(
    *, name: str, predictions: Sequence[Prediction], num_anchors: int, channels: int, depth: int
) -> Callable[[list[Tensor]], list[Tensor]]:
    """Return a function from the levels' maps to the predictions [B, anchors, outputs_per_anchor].

    `depth` 3x3 convolutions with ReLU, then for each prediction one with `num_anchors *
    outputs_per_anchor` filters; channel = anchor * outputs_per_anchor + output. All kernels start
    Gaussian with sigma 0.01 (section 4.1, "Initialization"). Predictions are float32.
    """

    tower = [
        layers.Conv2D(channels, 3, activation="relu", name=f"{name}_conv_{i}", **kernel_settings())
        for i in range(depth)
    ]
    last = [prediction_conv(prediction, num_anchors) for prediction in predictions]

    def apply(levels: list[Tensor]) -> list[Tensor]:
        maps = []
        for x in levels:
            for layer in tower:
                x = layer(x)
            maps.append([predict(x) for predict in last])
        return joined(maps, predictions)

    return apply


def prediction_conv(prediction: Prediction, num_anchors: int) -> PredictionConv2D:
    """Return a subnet's last convolution."""
    return PredictionConv2D(
        num_anchors * prediction.outputs_per_anchor,
        3,
        bias_initializer=keras.initializers.Constant(prediction.bias),
        name=f"{prediction.name}_predictions",
        **kernel_settings(),
    )


def kernel_settings() -> dict[str, Any]:
    """Return how a subnet's convolution is padded and starts.

    Each needs an initializer of its own: one gives all of a shape the same values.
    """
    initializer = keras.initializers.RandomNormal(stddev=HEAD_INIT_STDDEV)
    return {"padding": "same", "kernel_initializer": initializer}


def light_shared_head(
    *,
    name: str,
    predictions: Sequence[Prediction],
    num_anchors: int,
    channels: int,
    depth: int,
    synchronized: bool,
) -> Callable[[list[Tensor]], list[Tensor]]:
    """Return as `shared_head`, with depthwise separable convolutions, normalised, and ReLU6.

    The levels share the convolutions, and each has batch normalisation of its own (as EfficientDet
    and the Object Detection API's FPNLite): statistics of levels differ, and one normalisation for
    all would fit none of them at inference. ReLU6 bounds what 8 bits have to cover.

    Args:
        synchronized: the statistics are taken over the replicas.
    """
    tower = [separable_conv(channels, name=f"{name}_conv_{i}") for i in range(depth)]
    last = [
        separable_conv(
            num_anchors * prediction.outputs_per_anchor,
            name=f"{prediction.name}_predictions",
            pointwise_initializer=keras.initializers.RandomNormal(stddev=HEAD_INIT_STDDEV),
            use_bias=True,
            bias_initializer=keras.initializers.Constant(prediction.bias),
            dtype="float32",
        )
        for prediction in predictions
    ]

    def apply(levels: list[Tensor]) -> list[Tensor]:
        maps = []
        for level, x in zip(LEVELS, levels, strict=True):
            for i, layer in enumerate(tower):
                x = batch_norm(f"{name}_bn_{i}_p{level}", synchronized=synchronized)(layer(x))
                x = layers.ReLU(6.0, name=f"{name}_relu_{i}_p{level}")(x)
            maps.append([predict(x) for predict in last])
        return joined(maps, predictions)

    return apply


def joined(levels: list[list[Tensor]], predictions: Sequence[Prediction]) -> list[Tensor]:
    """Return each prediction's maps [B, h, w, anchors * outputs] as one [B, anchors, outputs]."""
    outputs = []
    for (name, depth, _), maps in zip(predictions, zip(*levels, strict=True), strict=True):
        flat = [
            layers.Reshape((-1, depth), dtype="float32", name=f"{name}_flat_{i}")(x)
            for i, x in enumerate(maps)
        ]
        outputs.append(layers.Concatenate(axis=1, dtype="float32", name=f"{name}_outputs")(flat))
    return outputs


def prior_bias(prior: float) -> float:
    """Return the logit at which every anchor starts as foreground with probability `prior`."""
    return -math.log((1.0 - prior) / prior)
