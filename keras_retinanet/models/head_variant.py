"""The subnets of other projects: with norms in their towers, and a scale of each level."""

from collections.abc import Callable, Sequence

import keras
from keras import layers

from keras_retinanet.conventions import LEVELS, Tensor
from keras_retinanet.models.heads import Prediction, joined, kernel_settings, prediction_conv

HEAD_NORM_GROUPS = 32
# torchvision's GroupNorm, and Keras' (and Model Garden's) BatchNorm.
HEAD_NORM_EPSILONS = {"group": 1e-5, "batch": 1e-3}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class Scale(layers.Layer):
    """Multiplies with one trained number, which starts at 1."""

    def build(self, input_shape: tuple) -> None:
        self.scale = self.add_weight((), initializer="ones", name="scale")

    def call(self, x: Tensor) -> Tensor:
        return x * self.scale


def variant_shared_head(
    *,
    name: str,
    predictions: Sequence[Prediction],
    num_anchors: int,
    channels: int,
    depth: int,
    norm: str,
    norm_epsilon: float | None,
    scaled: tuple[str, ...],
    synchronized: bool,
) -> Callable[[list[Tensor]], list[Tensor]]:
    """Return as `shared_head`, with a normalisation between each hidden convolution and its ReLU.

    Args:
        norm: "group": one GroupNorm for all levels, in place of the convolution's bias
            (torchvision); "batch": BatchNorm, for each level its own (Model Garden); "none".
        norm_epsilon: None: the norm's in HEAD_NORM_EPSILONS.
        scaled: names of the predictions that are multiplied with a number of each level.
        synchronized: batch statistics are taken over the replicas.
    """
    if norm == "group" and channels % HEAD_NORM_GROUPS:
        raise ValueError(
            f"head_norm = group needs head_channels to be a multiple of {HEAD_NORM_GROUPS}, got "
            f"{channels}"
        )
    tower = [
        layers.Conv2D(
            channels,
            3,
            use_bias=norm != "group",
            name=f"{name}_conv_{i}",
            **kernel_settings(),
        )
        for i in range(depth)
    ]
    norms: list = [None] * depth
    if norm != "none":
        epsilon = HEAD_NORM_EPSILONS[norm] if norm_epsilon is None else norm_epsilon
        norms = [_norms(f"{name}_norm_{i}", norm, epsilon, synchronized) for i in range(depth)]
    last = {prediction.name: prediction_conv(prediction, num_anchors) for prediction in predictions}

    def predicted(name: str, x: Tensor, level: int) -> Tensor:
        x = last[name](x)
        if name not in scaled:
            return x
        return Scale(dtype="float32", name=f"{name}_scale_p{LEVELS[level]}")(x)

    def apply(levels: list[Tensor]) -> list[Tensor]:
        maps = []
        for level, x in enumerate(levels):
            for i, (conv, norm_of) in enumerate(zip(tower, norms, strict=True)):
                x = conv(x) if norm_of is None else norm_of[level](conv(x))
                x = layers.ReLU(name=f"{name}_relu_{i}_p{LEVELS[level]}")(x)
            maps.append([predicted(each, x, level) for each in last])
        return joined(maps, predictions)

    return apply


def _norms(name: str, norm: str, epsilon: float, synchronized: bool) -> list[layers.Layer]:
    """Return each level's normalisation."""
    if norm == "group":
        shared = layers.GroupNormalization(HEAD_NORM_GROUPS, epsilon=epsilon, name=name)
        return [shared] * len(LEVELS)
    return [
        layers.BatchNormalization(
            epsilon=epsilon, synchronized=synchronized, name=f"{name}_p{level}"
        )
        for level in LEVELS
    ]
