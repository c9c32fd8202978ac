"""Export as ONNX: the network without NMS, for onnxruntime and what else reads the format."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from keras_retinanet.data.pipeline.batches import preprocess
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.manifest import LABELS_FILE
from keras_retinanet.detection.runtimes.onnx_runtime import METADATA_KEY
from keras_retinanet.errors import ConfigError, UserError
from keras_retinanet.export.calibration_images import calibration_inputs, refuse_no_images
from keras_retinanet.export.converters import converting
from keras_retinanet.export.exporter import Exporter, Written
from keras_retinanet.export.frozen import freeze
from keras_retinanet.export.onnx_quantize import import_quantization, quantize
from keras_retinanet.export.saved_model.signatures import RAW_VARIANTS, describe, raw_signature
from keras_retinanet.export.verify import FLOAT32, Tolerance
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.distribution import DISTRIBUTION
from keras_retinanet.system.silence import silence

# As TFLite's int8, which has maps and outputs of 8 bits as well: weak detections come and go.
TOLERANCES = {"float32": FLOAT32, "int8": Tolerance(agreement=0.8, ap_drop=0.015)}
_BYTES_PER_WEIGHT = {"float32": 4, "int8": 1}
# onnxruntime has run it since 1.12, and no operation of the network is newer.
OPSET = 17


@dataclass(frozen=True)
class OnnxExporter(Exporter):
    """Writes model.onnx with the input and the outputs of `signatures.raw_signature`.

    Scaling, NMS and class names are not in the graph; the settings for them are in the file's
    metadata, as JSON under "keras_retinanet".

    Args:
        raw: "dynamic" for inputs of any size and number, or "fixed" for one image of one size.
        precision: of the network: "float32"; "int8", maps and weights, calibrated (QDQ).
        calibration_files: images to calibrate "int8" with.

    Raises:
        ConfigError: a setting is unknown.
        DataError: "int8" without calibration files.
    """

    format: ClassVar[str] = "onnx"
    model_file: ClassVar[str] = "model.onnx"

    raw: str = "dynamic"
    precision: str = "float32"
    calibration_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in TOLERANCES:
            raise ConfigError(
                f"--precision for onnx must be one of {', '.join(TOLERANCES)}, "
                f"not {self.precision!r}"
            )
        if self.precision == "int8":
            refuse_no_images(self.calibration_files)
        if self.raw not in RAW_VARIANTS:
            raise ConfigError(f"--raw must be one of {', '.join(RAW_VARIANTS)}, not {self.raw!r}")

    @property
    def tolerance(self) -> Tolerance:
        return TOLERANCES[self.precision]

    def write(self, model: RetinaNet, folder: Path) -> Written:
        try:
            with silence("tf2onnx"):
                import onnx
                import tf2onnx
        except ImportError as error:
            raise UserError(
                f"exporting ONNX needs more packages: pip install '{DISTRIBUTION}[onnx]'"
            ) from error
        if self.precision == "int8":
            import_quantization()
        inference = DetectorSettings.of_model(model)
        network, num_bytes = freeze(model, "float32")
        function = raw_signature(network, inference, fixed=self.raw == "fixed")
        with converting("tf2onnx"):
            graph, _ = tf2onnx.convert.from_function(
                function, input_signature=function.input_signature, opset=OPSET
            )
        file = folder / self.model_file
        if self.precision == "int8":
            inputs = self._calibration_inputs(inference)
            with converting("onnxruntime's quantisation"):
                quantize(graph, inputs, file)
                graph = onnx.load(str(file))
        with converting("onnx"):
            onnx.helper.set_model_props(graph, {METADATA_KEY: json.dumps(inference.as_json())})
            onnx.checker.check_model(graph)
            onnx.save(graph, str(file))
        labels = "".join(f"{name}\n" for name in inference.class_names)
        (folder / LABELS_FILE).write_text(labels, encoding="utf-8")
        contract = describe(function.get_concrete_function())
        num_bytes = num_bytes // 4 * _BYTES_PER_WEIGHT[self.precision]
        return Written({**contract, "opset": OPSET}, num_bytes)

    def _calibration_inputs(self, inference: DetectorSettings) -> list[np.ndarray]:
        policy = inference.input_policy
        return calibration_inputs(
            self.calibration_files, lambda image: preprocess(image, policy)[0][None]
        )
