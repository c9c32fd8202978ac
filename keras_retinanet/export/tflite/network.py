"""The network alone as TFLite: image in, each level's predictions out, quantised if asked.

Post-processing is no part of it: a converter that quantises would put anchors into 16 bits and the
decoding of boxes into 8. Levels are apart: in 8 bits a concatenation would make all share a scale.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.export.calibration_images import refuse_no_images
from keras_retinanet.export.tflite.conversion import Conversion
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.private_names import with_constants

QUANTIZATIONS = ("float32", "float16", "dynamic", "int8")
INPUT_TYPES = ("float32", "uint8")


def network_conversion(
    model: RetinaNet,
    *,
    height: int,
    width: int,
    quantization: str = "float32",
    input_type: str = "float32",
    calibration_images: Sequence[np.ndarray] = (),
) -> Conversion:
    """Return how the network becomes a TFLite file for images [1, height, width, 3] in 0...255.

    Outputs, all float32: the logits [1, a, K] of each level, then the deltas [1, a, 4] of each, and
    then, if the model predicts it, the quality [1, a, 1] of each, logits.

    Args:
        quantization: "float32"; "float16" (weights); "dynamic" (8-bit weights, float32 maps); or
            "int8" (8-bit weights and maps).
        calibration_images: uint8 [height, width, 3], whose maps set the ranges of "int8".

    Raises:
        DataError: "int8" without calibration images.
    """
    if quantization == "int8":
        refuse_no_images(calibration_images)
    function = _frozen_network(model, height, width, from_uint8=_casts(quantization, input_type))
    inputs = calibration_images if quantization == "int8" else ()
    return Conversion(function, quantization, input_type, inputs)


def predictions(model: RetinaNet) -> dict[str, int]:
    """Return how the layers are named that give the outputs, with the numbers of an anchor."""
    depths = {"class_head": model.num_classes, "box_head": 4}
    return depths if model.box_quality == "none" else {**depths, "box_quality": 1}


def num_levels(model: RetinaNet) -> int:
    return len(model.anchor_generator.levels)


def frozen(function: Any, signature: Sequence[tf.TensorSpec]) -> Any:
    """Return the concrete function with all variables as constants.

    A converter that is given a Keras model with variables may drop them without an error.
    """
    concrete = tf.function(function, autograph=False).get_concrete_function(*signature)
    return with_constants(concrete)


def _frozen_network(model: RetinaNet, height: int, width: int, *, from_uint8: bool) -> Any:
    levels = range(num_levels(model))
    names = [f"{prediction}_flat_{i}" for prediction in predictions(model) for i in levels]
    outputs = [model.get_layer(name).output for name in names]
    network = keras.Model(model.inputs, outputs)
    dtype = tf.uint8 if from_uint8 else tf.float32

    def run(image: Tensor) -> tuple[Tensor, ...]:
        return tuple(network(tf.cast(image, tf.float32), training=False))

    return frozen(run, [tf.TensorSpec((1, height, width, 3), dtype, "image")])


def _casts(quantization: str, input_type: str) -> bool:
    """Whether the graph turns bytes into floats; an int8 network takes them as they are."""
    return input_type == "uint8" and quantization != "int8"
