"""The runtime of exports for OpenVINO, on the CPU."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.data.images.decoding import decode_image
from keras_retinanet.detection.detector import Detector
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.runtimes.raw import RawDetector
from keras_retinanet.detection.runtimes.served import ServedDetector
from keras_retinanet.errors import UserError, WeightsError
from keras_retinanet.geometry.postprocess import with_binary_logits

# Where a file has the settings of inference, as JSON, and the precision to compute in.
SETTINGS_KEY = ["keras_retinanet", "settings"]
PRECISION_KEY = ["keras_retinanet", "precision"]
PIXELS = "input_tensor"
# The node that gives a network with one size of inputs that size.
CANVAS_NODE = "canvas"
RAW_OUTPUTS = ("class_logits", "box_deltas")
# OpenVINO takes bfloat16 by itself where a CPU has it, so that float32 has to be asked for.
_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def load_openvino(path: Path) -> Detector:
    """Return the detector in a .xml file that `retinanet export --format openvino` wrote.

    Raises:
        WeightsError: the file or the .bin beside it is damaged, or of another origin.
        UserError: openvino is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise UserError("running OpenVINO's files needs: pip install openvino") from error
    core = openvino.Core()
    try:
        model = core.read_model(path)
    except Exception as error:  # OpenVINO's own kinds
        raise WeightsError(f"{path} cannot be loaded: {_reason(error)}") from error
    if not model.has_rt_info(SETTINGS_KEY):
        raise WeightsError(f"{path} was not made by retinanet export: it has no settings")
    precision = model.get_rt_info(PRECISION_KEY).astype(str)
    settings = json.loads(model.get_rt_info(SETTINGS_KEY).astype(str))
    _settle_canvas(model)
    return detector_of(compiled(model, precision), DetectorSettings.from_json(settings))


def _settle_canvas(model: Any) -> None:
    """Make the shapes of all maps known, for one image at a time, where images have one canvas.

    Only then does OpenVINO leave numbers where its convolutions put them: the network's outputs are
    the largest maps of all.
    """
    import openvino

    for node in model.get_ordered_ops():
        if node.get_friendly_name() == CANVAS_NODE:
            sides = node.get_output_partial_shape(0)[1:3]
            shape = openvino.opset13.constant([1, *(side.get_length() for side in sides), 3])
            node.input(1).replace_source_output(shape.output(0))
            model.validate_nodes_and_infer_types()


def compiled(model: Any, precision: str) -> Any:
    """Return a model of OpenVINO ready to run on the CPU in "float32", "bfloat16" or "int8"."""
    import openvino

    hint = {"INFERENCE_PRECISION_HINT": _HINTS[precision]} if precision in _HINTS else {}
    try:
        return openvino.compile_model(model, "CPU", hint)
    except Exception as error:
        raise WeightsError(f"the model cannot be compiled: {_reason(error)}") from error


def detector_of(network: Any, settings: DetectorSettings) -> Detector:
    """Return the detector of a compiled model, with or without detections inside."""
    (image_input,) = network.inputs
    if image_input.any_name == PIXELS:
        return _WholeImages(network, settings)

    def run(images: np.ndarray) -> dict[str, Any]:
        outputs = network({image_input.any_name: images})
        return {name: outputs[name] for name in RAW_OUTPUTS}

    shape = image_input.partial_shape
    return RawDetector(run, settings, one_by_one=shape[0].is_static and len(shape[0]) == 1)


def bare_detector(network: Any, settings: DetectorSettings) -> Detector:
    """Return the detector of a compiled network alone, without what makes scores of its outputs."""
    (image_input,) = network.inputs

    def run(images: np.ndarray) -> dict[str, Any]:
        outputs = network({image_input.any_name: images})
        return with_binary_logits(
            {output.any_name: tf.constant(outputs[output]) for output in network.outputs}, settings
        )

    return RawDetector(run, settings)


class _WholeImages(ServedDetector):
    """A model with scaling and NMS inside, which takes one image at a time."""

    def __init__(self, network: Any, settings: DetectorSettings) -> None:
        super().__init__(settings, one_by_one=True)
        self._network = network

    def serve(self, files: list[bytes]) -> dict[str, np.ndarray]:
        outputs = self._network({PIXELS: decode_image(files[0])[None].numpy()})
        return {output.any_name: outputs[output] for output in self._network.outputs}


def _reason(error: Exception) -> str:
    """Return the line of OpenVINO's text that says what is wrong: the last, after the places."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
