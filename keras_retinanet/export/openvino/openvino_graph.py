"""The network, and all of the way from images to detections, as models of OpenVINO.

TensorFlow's graphs are converted in three parts and joined: what is before and after the network
stays in float32, whatever the network is quantised to.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.batches import preprocess
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.runtimes.openvino_runtime import CANVAS_NODE, PIXELS, SIDES_NODE
from keras_retinanet.errors import UserError
from keras_retinanet.export.converters import converting
from keras_retinanet.export.frozen import Sides
from keras_retinanet.export.saved_model.signatures import (
    Network,
    input_sides,
    served_detections,
)
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.postprocess import detections_of, with_binary_logits
from keras_retinanet.models.retinanet import OUTPUTS
from keras_retinanet.system.distribution import DISTRIBUTION

IMAGES = "images"
_CANVAS, _SIZES = "canvas", "sizes"


def import_openvino() -> Any:
    """Return OpenVINO, or raise the UserError that says how to install it."""
    try:
        import openvino
    except ImportError as error:
        raise UserError(
            f"exporting for OpenVINO needs: pip install '{DISTRIBUTION}[openvino]'"
        ) from error
    return openvino


def network_graph(network: Network, settings: DetectorSettings, sides: Sides) -> Any:
    """Return the network: images [N, H, W, 3] -> outputs, as `freeze` gives it.

    Args:
        sides: H and W where all images have them.
    """
    spec = tf.TensorSpec((None, *sides, 3), settings.input_policy.pixels, IMAGES)
    network = _converted(network, [spec])
    _reverse_by_gather(network)
    return network


def with_raw_outputs(network: Any, settings: DetectorSettings) -> Any:
    """Return the way from "images", the network's, to what `signatures.raw_signature` gives."""
    specs = _output_specs(network, settings)

    def decode(images: Tensor, *outputs: Tensor) -> dict[str, Tensor]:
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        anchors = settings.anchor_generator(height, width)
        raw = with_binary_logits(dict(zip(specs, outputs, strict=True)), settings)
        return {
            **raw,
            "scores": tf.sigmoid(raw["class_logits"]),
            "boxes": settings.box_coder.decode(raw["box_deltas"], anchors),
        }

    images = tf.TensorSpec((None, None, None, 3), settings.input_policy.pixels, IMAGES)
    tail = _converted(decode, [images, *specs.values()])
    names = [output.any_name for output in tail.outputs]
    # The images go into both: into the tail for their size alone.
    _connect(tail, IMAGES, network.input(IMAGES))
    for name, spec in specs.items():
        _connect(tail, spec.name, _source(network, name))
        # The outputs of the whole have these names.
        network.output(name).get_tensor().set_names(set())
    whole = _joined([tail], network.get_parameters())
    for name, output in zip(names, whole.outputs, strict=True):
        output.get_tensor().set_names({name})
    return whole


def with_detections(network: Any, settings: DetectorSettings) -> Any:
    """Return the way from "input_tensor" uint8 [N, H, W, 3], of any size, to detections.

    Outputs as those of a SavedModel's signature `serving_default`.
    """

    specs = _output_specs(network, settings)

    def detect(canvas: Tensor, sizes: Tensor, *outputs: Tensor) -> dict[str, Tensor]:
        raw = with_binary_logits(dict(zip(specs, outputs, strict=True)), settings)
        found = detections_of(settings, raw, canvas[0], canvas[1], sizes, highest_by_threshold)
        return served_detections(found, sizes)

    ops = import_openvino().opset13
    head, sides = scaling_graph(settings.input_policy), input_sides(settings)
    tail = _converted(
        detect,
        [
            tf.TensorSpec((2,), tf.int32, _CANVAS),
            tf.TensorSpec((None, 2), tf.int32, _SIZES),
            *specs.values(),
        ],
    )
    scaled = {name: _source(head, name) for name in (IMAGES, _CANVAS, _SIZES)}
    if None not in sides:
        # With sides that it knows, OpenVINO need not put the network's outputs in other orders
        # on their way. 0 stands for as many images as there are.
        canvas = ops.reshape(scaled[IMAGES], ops.constant([0, *sides, 3]), special_zero=True)
        canvas.set_friendly_name(CANVAS_NODE)
        scaled[IMAGES] = canvas.output(0)
        scaled[_CANVAS].get_node().set_friendly_name(SIDES_NODE)
    _connect(network, IMAGES, scaled[IMAGES])
    _connect(tail, _CANVAS, scaled[_CANVAS])
    _connect(tail, _SIZES, scaled[_SIZES])
    for name, spec in specs.items():
        _connect(tail, spec.name, _source(network, name))
    return _joined([tail], head.get_parameters())


def scaling_graph(policy: InputPolicy) -> Any:
    """Return the scaling: "input_tensor" uint8 [N, H, W, 3] -> "images", the network's.

    Beside them, "canvas" int32 [2], their height and width, and "sizes" int32 [N, 2], those without
    the padding.
    """

    def scale(input_tensor: Tensor) -> dict[str, Tensor]:
        inputs, size = preprocess(input_tensor, policy, bilinear_by_gathers)
        return {
            IMAGES: inputs,
            _CANVAS: tf.shape(inputs)[1:3],
            _SIZES: tf.tile(size[None], (tf.shape(inputs)[0], 1)),
        }

    model = _converted(scale, [tf.TensorSpec((None, None, None, 3), tf.uint8, PIXELS)])
    _divide_exactly(model)
    return model


def bilinear_by_gathers(images: Tensor, size: Tensor) -> Tensor:
    """Scale images [N, H, W, 3] as TensorFlow's kernel does, step by step.

    OpenVINO's own scaling places the samples with another rounding: where TensorFlow finds a value
    just below a half, it may find one just above, and a third of a percent of all pixels differ.
    """
    top, bottom, down = _samples(tf.shape(images)[1], size[0])
    left, right, across = _samples(tf.shape(images)[2], size[1])
    across = across[:, None]

    def row(index: Tensor) -> Tensor:
        pixels = tf.gather(images, index, axis=1)
        start, end = (
            tf.cast(tf.gather(pixels, column, axis=2), tf.float32) for column in (left, right)
        )
        return start + (end - start) * across

    upper, lower = row(top), row(bottom)
    return upper + (lower - upper) * down[:, None, None]


def highest_by_threshold(values: Tensor, k: Tensor, in_order: bool = True) -> Tensor:
    """Return the indices as `postprocess.Highest` says, always in order, by the k-th highest value.

    OpenVINO's TopK leaves open which of equal values it picks, unless it is asked for a stable
    order, which takes it a hundred times as long (54 ms and 0.5 for 1000 of 13,000). The value
    where the line is drawn does not depend on that, and those of that value are then counted.
    """
    top, _ = tf.math.top_k(values, k, sorted=False)
    lowest = tf.reduce_min(top, axis=1, keepdims=True)
    is_above, is_lowest = values > lowest, values == lowest
    places = k - tf.reduce_sum(tf.cast(is_above, tf.int32), axis=1, keepdims=True)
    is_among_first = tf.cumsum(tf.cast(is_lowest, tf.int32), axis=1) <= places
    found = tf.where(is_above | (is_lowest & is_among_first))
    return tf.reshape(tf.cast(found[:, 1], tf.int32), (-1, k))


def _samples(old: Tensor, new: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for `new` places along a side of `old` pixels the two beside, and the way between."""
    scale = tf.cast(old, tf.float32) / tf.cast(new, tf.float32)
    place = (tf.cast(tf.range(new), tf.float32) + 0.5) * scale - 0.5
    before = tf.floor(place)
    first = tf.maximum(tf.cast(before, tf.int32), 0)
    second = tf.minimum(tf.cast(before, tf.int32) + 1, old - 1)
    return first, second, place - before


def _reverse_by_gather(model: Any) -> None:
    """Turn RGB into BGR by one gather: a reversed sequence takes OpenVINO ten times as long."""
    ops = import_openvino().opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() != "ReverseSequence":
            continue
        axis = node.get_attributes()["seq_axis"]
        depth = node.get_input_partial_shape(0)[axis].get_length()
        backwards = ops.constant(np.arange(depth)[::-1].copy())
        turned = ops.gather(node.input_value(0), backwards, ops.constant(axis))
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(turned.output(0))


def _divide_exactly(model: Any) -> None:
    """Make a model's divisions of numbers of pixels right to the last bit, as TensorFlow's are.

    OpenVINO multiplies with a rounded reciprocal in place of dividing. The last bit may be wrong
    then, and half a pixel is rounded the other way. What is left of the dividend is found by
    products that need no rounding, and divided in turn.
    """
    ops = import_openvino().opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() == "If":
            _divide_exactly(node.get_then_body())
            _divide_exactly(node.get_else_body())
        if node.get_type_name() != "Divide" or node.get_output_element_type(0).is_integral():
            continue
        targets = node.output(0).get_target_inputs()
        a, b = node.input_value(0), node.input_value(1)
        steps = ops.constant(256.0, node.get_output_element_type(0))
        coarse = ops.divide(ops.floor(ops.multiply(node, steps)), steps)  # few bits
        rest = ops.subtract(
            ops.subtract(a, ops.multiply(coarse, b)), ops.multiply(ops.subtract(node, coarse), b)
        )
        exact = ops.add(node, ops.divide(rest, b))
        for target in targets:
            target.replace_source_output(exact.output(0))


def _output_specs(network: Any, settings: DetectorSettings) -> dict[str, tf.TensorSpec]:
    """Return what the outputs of a network are as inputs of what follows on it."""
    names = {output.any_name for output in network.outputs}
    depths = dict(zip(OUTPUTS, (len(settings.class_names), 4, 1), strict=True))
    return {
        # Named otherwise than what is made of them, which would get another name.
        name: tf.TensorSpec((None, None, depth), tf.float32, f"network_{name}")
        for name, depth in depths.items()
        if name in names
    }


def _converted(function: Callable, specs: list[tf.TensorSpec]) -> Any:
    openvino = import_openvino()
    module = tf.Module()
    serve = tf.function(function, input_signature=specs, autograph=False)
    with tempfile.TemporaryDirectory() as place, converting("OpenVINO's converter"):
        tf.saved_model.save(module, place, signatures=serve)
        return openvino.convert_model(place)


def _source(model: Any, name: str) -> Any:
    """Return where the output `name` of a model comes from."""
    return model.output(name).get_node().input_value(0)


def _connect(model: Any, name: str, source: Any) -> None:
    """Feed the input `name` of a model from an output of another."""
    for target in model.input(name).get_target_inputs():
        target.replace_source_output(source)


def _joined(parts: list[Any], parameters: list[Any]) -> Any:
    openvino = import_openvino()
    results = [result for part in parts for result in part.get_results()]
    return openvino.Model(results, parameters, "retinanet")
