"""BatchNormalization that only scales and shifts, as part of the convolution before it.

Frozen statistics make it an affine map of the convolution's outputs, which is the convolution with
other weights. So computed it costs a pass over the weights, not several over the activations.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras
from keras import layers, ops

from keras_retinanet.conventions import Tensor
from keras_retinanet.system.private_names import call_with, layer_calls


def normalized_convolutions(
    model: keras.Model,
) -> dict[layers.BatchNormalization, layers.Layer]:
    """Return the convolution of each BatchNormalization that can be folded into it.

    It has outputs that nothing else uses, no activation, and is called once. Both are Keras' own
    layers: what a subclass makes of its weights is not known.
    """
    # Layers are also called by models that share them: the backbone is one by itself.
    calls = layer_calls(model)
    found = {}
    for norm in model.layers:
        if type(norm) is not layers.BatchNormalization or len(calls[norm.name].sources) != 1:
            continue
        (conv,) = calls[norm.name].sources
        if (
            type(conv) in (layers.Conv2D, layers.DepthwiseConv2D)
            and len(calls[conv.name].sources) == calls[conv.name].num_uses == 1
            and conv.activation is keras.activations.linear
        ):
            found[norm] = conv
    return found


def folded_calls(model: keras.Model) -> dict[str, Callable[..., Tensor]]:
    """Return what to call in place of layers with frozen statistics, by their names.

    The norms call the convolutions before them, which do nothing any more. Outputs and gradients
    differ from the layers' own by rounding alone. Options, such as Keras' masks, have no effect.
    """
    calls: dict[str, Callable[..., Tensor]] = {}
    for norm, conv in normalized_convolutions(model).items():
        if not norm.trainable:
            calls[conv.name] = _unchanged
            folded = FoldedConvolution(conv, norm)
            calls[norm.name] = lambda inputs, folded=folded, **_: folded(inputs)
    return calls


def _unchanged(inputs: Tensor, **_: Any) -> Tensor:
    return inputs


class FoldedModel(keras.Model):
    """A functional model that trains with frozen norms folded: see `folded_calls`."""

    _folded: Mapping[str, Callable] = MappingProxyType({})

    def compile(self, *arguments: Any, **settings: Any) -> None:
        super().compile(*arguments, **settings)
        # Whether a layer is trained is settled here. Keras would look for layers in a dict.
        self._folded = MappingProxyType(folded_calls(self))

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and self._folded:
            return call_with(self, inputs, self._folded)
        return super().call(inputs, training=training, mask=mask)


class FoldedConvolution(layers.Layer):
    """A convolution and the frozen BatchNormalization after it; has no weights but theirs.

    With statistics mean and variance, gamma and beta, a kernel k and a bias b: the convolution with
    k * s and the bias (b - mean) * s + beta, where s = gamma / sqrt(variance + epsilon).
    """

    def __init__(self, conv: layers.Layer, norm: layers.BatchNormalization) -> None:
        # Weights as they are held, float32: rounded once, after the product.
        super().__init__(name=f"{conv.name}_{norm.name}", autocast=False)
        self.conv, self.norm = conv, norm

    def call(self, inputs: Tensor) -> Tensor:
        conv, norm = self.conv, self.norm
        scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
        if norm.scale:
            scale = scale * norm.gamma
        shift = -scale * norm.moving_mean
        if norm.center:
            shift = shift + norm.beta
        if conv.use_bias:
            shift = shift + scale * conv.bias
        kernel = conv.kernel
        if isinstance(conv, layers.DepthwiseConv2D):  # channel = input * multiplier + number
            scale = ops.reshape(scale, kernel.shape[-2:])
        inputs, kernel, shift = (
            ops.cast(value, conv.compute_dtype) for value in (inputs, kernel * scale, shift)
        )
        if not isinstance(conv, layers.DepthwiseConv2D):
            return conv.convolution_op(inputs, kernel) + shift
        outputs = ops.depthwise_conv(
            inputs, kernel, strides=conv.strides, padding=conv.padding,
            dilation_rate=conv.dilation_rate, data_format=conv.data_format,
        )  # fmt: skip
        return outputs + shift
