"""The runtime of exported .onnx files: onnxruntime for the network, TensorFlow for the rest."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.runtimes.raw import RawDetector
from keras_retinanet.errors import UserError, WeightsError

# The file's metadata under this key hold the settings of inference, class names included.
METADATA_KEY = "keras_retinanet"
OUTPUTS = ["class_logits", "box_deltas"]


def load_onnx(path: Path) -> RawDetector:
    """Return the detector in an .onnx file that `retinanet export --format onnx` wrote.

    Raises:
        WeightsError: the file is damaged, or of another origin.
        UserError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("running .onnx files needs: pip install onnxruntime") from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds
        first_line = (str(error).strip() or repr(error)).splitlines()[0]
        raise WeightsError(f"{path} cannot be loaded: {first_line}") from error
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise WeightsError(f"{path} was not made by retinanet export: it has no settings")
    settings = DetectorSettings.from_json(json.loads(metadata[METADATA_KEY]))
    (image_input,) = session.get_inputs()

    def run(images: np.ndarray) -> dict[str, Any]:
        values = session.run(OUTPUTS, {image_input.name: images})
        return dict(zip(OUTPUTS, values, strict=True))

    return RawDetector(run, settings, one_by_one=image_input.shape[0] == 1)
