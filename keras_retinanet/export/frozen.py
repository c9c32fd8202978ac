"""The network as exports hold it: weights as constants, BatchNormalization folded, one graph."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_retinanet.conventions import Tensor
from keras_retinanet.errors import ConfigError
from keras_retinanet.models.folding import normalized_convolutions
from keras_retinanet.models.retinanet import OUTPUTS, RetinaNet
from keras_retinanet.models.saving import copy_for_inference
from keras_retinanet.system.private_names import with_constants

Sides = tuple[int | None, int | None]

# By precision: the policy of the copy that is exported.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def freeze(
    model: RetinaNet, precision: str, sides: Sides = (None, None)
) -> tuple[Callable[[Tensor], dict], int]:
    """Return a RetinaNet as a function without variables, and the bytes of its constants.

    The function takes images [B, H, W, 3], uint8 or as `input_policy.pixels` says, to
    "class_logits" [B, A, K], "box_deltas" [B, A, 4] and, of a model that predicts it, "box_quality"
    [B, A, 1], float32. It is one graph function: all that call it share its constants.

    Args:
        precision: "float32"; "bfloat16" for weights and activations, those of the heads' last
            convolutions among them: in training they are float32, and would be more than a third of
            the time here. BCCD's AP is the same (docs/performance.md).
        sides: H and W where all images have them: TensorFlow then knows that the two sides of a
            residual connection have one shape, and adds within the convolution.

    Raises:
        ConfigError: unknown precision.
    """
    if precision not in POLICIES:
        raise ConfigError(f"precision must be one of {', '.join(POLICIES)}, not {precision!r}")
    network = fold(copy_for_inference(model, dtype=POLICIES[precision]), precision)
    depths = output_depths(model)

    def run(images: Tensor) -> tuple[Tensor, ...]:
        outputs = network([images], training=False)
        return tuple(outputs[name] for name in depths)

    images = tf.TensorSpec((None, *sides, 3), model.input_policy.pixels, "images")
    concrete = tf.function(run, autograph=False).get_concrete_function(images)
    frozen = with_constants(concrete)
    num_bytes = sum(math.prod(w.shape) * tf.as_dtype(w.dtype).size for w in network.weights)

    def outputs(images: Tensor) -> dict[str, Tensor]:
        return {
            name: tf.ensure_shape(output, (None, None, depth))
            for (name, depth), output in zip(depths.items(), frozen(images), strict=True)
        }

    return outputs, num_bytes


def output_depths(model: RetinaNet) -> dict[str, int]:
    """Return how many numbers an anchor has in each output of a network, in their order."""
    depths = dict(zip(OUTPUTS, (model.num_classes, 4, 1), strict=True))
    return {name: depth for name, depth in depths.items() if name in model.output}


def fold(model: keras.Model, dtype: str) -> keras.Model:
    """Return a functional model whose BatchNormalizations are part of the convolutions before them.

    Those that do not follow a convolution of their own stay. Convolutions are computed, and their
    weights held, in `dtype`.
    """
    # A model of the same layers without loss and optimizer, which a clone would compile anew.
    plain = keras.Model(model.inputs, model.output)
    normalizers = normalized_convolutions(plain)
    folded = {conv.name: bn for bn, conv in normalizers.items()}
    names = {bn.name for bn in normalizers}
    clones: dict[str, layers.Layer] = {}

    def clone(layer: layers.Layer) -> layers.Layer:
        if layer.name not in clones:
            config = layer.get_config()
            if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
                # "mixed_bfloat16" holds weights as float32, and computes the heads' last ones so.
                config["dtype"] = dtype
                config["use_bias"] = layer.use_bias or layer.name in folded
            clones[layer.name] = layer.__class__.from_config(config)
        return clones[layer.name]

    def call(layer: layers.Layer, *inputs: Any, **options: Any) -> Any:
        return inputs[0] if layer.name in names else layer(*inputs, **options)

    result = keras.models.clone_model(plain, clone_function=clone, call_function=call)
    for layer in plain.layers:
        if layer.weights and layer.name not in names:
            weights = layer.get_weights()
            if layer.name in folded:
                weights = _folded_weights(layer, folded[layer.name])
            result.get_layer(layer.name).set_weights(weights)
    return result


def _folded_weights(conv: layers.Layer, bn: layers.BatchNormalization) -> list[np.ndarray]:
    kernel, *bias = (weight.astype(np.float64) for weight in conv.get_weights())
    variance = bn.moving_variance.numpy().astype(np.float64)
    factor = 1.0 / np.sqrt(variance + bn.epsilon)
    if bn.scale:
        factor = factor * bn.gamma.numpy()
    shift = (bias[0] if bias else 0.0) - bn.moving_mean.numpy()
    shift = shift * factor + (bn.beta.numpy() if bn.center else 0.0)
    if isinstance(conv, layers.DepthwiseConv2D):  # channel = input * multiplier + number
        kernel = kernel * factor.reshape(kernel.shape[-2:])
    else:
        kernel = kernel * factor
    return [kernel.astype(np.float32), shift.astype(np.float32)]
