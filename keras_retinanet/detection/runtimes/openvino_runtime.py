"""The runtime of exports for OpenVINO, on the CPU."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.data.images.address import read_image_bytes
from keras_retinanet.data.images.decoding import decode_at_once
from keras_retinanet.detection.detector import Detections, Detector
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.runtimes.raw import RawDetector
from keras_retinanet.detection.runtimes.served import ServedDetector
from keras_retinanet.errors import UserError, WeightsError
from keras_retinanet.geometry.postprocess import with_binary_logits
from keras_retinanet.system.prefetch import mapped_ahead

# Where a file has the settings of inference, as JSON, and the precision to compute in.
SETTINGS_KEY = ["keras_retinanet", "settings"]
PRECISION_KEY = ["keras_retinanet", "precision"]
PIXELS = "input_tensor"
# Of a network with one size of inputs, the node that gives them that size, and the one that tells
# it to what follows.
CANVAS_NODE, SIDES_NODE = "canvas", "canvas_sides"
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
    return detector_of(
        compiled(model, precision),
        DetectorSettings.from_json(settings),
        lambda: compiled(model, precision, several=True),
    )


def _settle_canvas(model: Any) -> None:
    """Make the shapes of all maps known, for one image at a time, where images have one canvas.

    Only then does OpenVINO leave numbers where its convolutions put them: the network's outputs are
    the largest maps of all. Anchors are constants then. With known sides and an unknown number of
    images, OpenVINO 2026.4 has given wrong detections: so the file itself leaves them open.
    """
    import openvino

    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    if CANVAS_NODE not in nodes:
        return
    canvas = nodes[CANVAS_NODE]
    sides = [side.get_length() for side in canvas.get_output_partial_shape(0)[1:3]]
    ops = openvino.opset13
    canvas.input(1).replace_source_output(ops.constant([1, *sides, 3]).output(0))
    if SIDES_NODE in nodes:  # files of earlier versions lack it
        known = ops.constant(np.array(sides, np.int32)).output(0)
        for target in nodes[SIDES_NODE].output(0).get_target_inputs():
            target.replace_source_output(known)
    model.validate_nodes_and_infer_types()


def compiled(model: Any, precision: str, *, several: bool = False) -> Any:
    """Return a model of OpenVINO ready to run on the CPU in "float32", "bfloat16" or "int8".

    Args:
        several: it is made for several requests at once, each on some of the cores.
    """
    import openvino

    hints = {"PERFORMANCE_HINT": "THROUGHPUT" if several else "LATENCY"}
    if precision in _HINTS:
        hints["INFERENCE_PRECISION_HINT"] = _HINTS[precision]
    try:
        return openvino.compile_model(model, "CPU", hints)
    except Exception as error:
        raise WeightsError(f"the model cannot be compiled: {_reason(error)}") from error


def detector_of(
    network: Any, settings: DetectorSettings, compile_for_several: Callable[[], Any] | None = None
) -> Detector:
    """Return the detector of a compiled model, with or without detections inside.

    Args:
        compile_for_several: returns the model as it takes several requests at once; without it,
            images come one after the other.
    """
    (image_input,) = network.inputs
    if image_input.any_name == PIXELS:
        return _WholeImages(network, settings, compile_for_several)

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
    """A model with scaling and NMS inside, which takes one image at a time.

    Of a batch, images go through it side by side: each on some of the cores, which then need not
    wait for one another as they do within one image.
    """

    def __init__(
        self,
        network: Any,
        settings: DetectorSettings,
        compile_for_several: Callable[[], Any] | None,
    ) -> None:
        super().__init__(settings, one_by_one=True)
        self._network = network
        self._for_several = None if compile_for_several is None else cache(compile_for_several)

    def serve(self, files: list[bytes]) -> dict[str, np.ndarray]:
        return _served(self._network, files[0])

    def detect_files(
        self,
        image_paths: Sequence[str],
        heights: np.ndarray,
        widths: np.ndarray,
        *,
        batch_size: int = 8,
    ) -> Iterator[tuple[int, Detections]]:
        if batch_size == 1 or self._for_several is None:
            yield from super().detect_files(image_paths, heights, widths, batch_size=batch_size)
            return
        network = self._for_several()
        own = threading.local()

        def find(i: int) -> tuple[int, Detections]:
            if not hasattr(own, "request"):
                own.request = network.create_infer_request()
            served = _served(own.request.infer, read_image_bytes(image_paths[i]))
            return i, self._detections(served, 0, heights[i], widths[i])

        best = network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        yield from mapped_ahead(find, range(len(heights)), min(batch_size, best))


def _served(run: Callable[[dict[str, np.ndarray]], Any], file: bytes) -> dict[str, np.ndarray]:
    """Return what a model or a request of OpenVINO finds in an image file."""
    outputs = run({PIXELS: decode_at_once(file)[None]})
    return {output.any_name: values for output, values in outputs.items()}


def _reason(error: Exception) -> str:
    """Return the line of OpenVINO's text that says what is wrong: the last, after the places."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
