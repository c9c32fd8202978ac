"""Export as ONNX: the network without NMS, for onnxruntime and what else reads the format."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.manifest import LABELS_FILE
from keras_retinanet.detection.runtimes.onnx_runtime import METADATA_KEY
from keras_retinanet.errors import ConfigError, UserError
from keras_retinanet.export.converters import converting
from keras_retinanet.export.exporter import Exporter, Written
from keras_retinanet.export.frozen import freeze
from keras_retinanet.export.saved_model.signatures import RAW_VARIANTS, describe, raw_signature
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.distribution import DISTRIBUTION
from keras_retinanet.system.silence import silence

# onnxruntime has run it since 1.12, and no operation of the network is newer.
OPSET = 17


@dataclass(frozen=True)
class OnnxExporter(Exporter):
    """Writes model.onnx with the input and the outputs of `signatures.raw_signature`.

    Scaling, NMS and class names are not in the graph; the settings for them are in the file's
    metadata, as JSON under "keras_retinanet".

    Args:
        raw: "dynamic" for inputs of any size and number, or "fixed" for one image of one size.
    """

    format: ClassVar[str] = "onnx"
    model_file: ClassVar[str] = "model.onnx"

    raw: str = "dynamic"

    def __post_init__(self) -> None:
        if self.raw not in RAW_VARIANTS:
            raise ConfigError(f"--raw must be one of {', '.join(RAW_VARIANTS)}, not {self.raw!r}")

    def write(self, model: RetinaNet, folder: Path) -> Written:
        try:
            with silence("tf2onnx"):
                import onnx
                import tf2onnx
        except ImportError as error:
            raise UserError(
                f"exporting ONNX needs more packages: pip install '{DISTRIBUTION}[onnx]'"
            ) from error
        inference = DetectorSettings.of_model(model)
        network, num_bytes = freeze(model, "float32")
        function = raw_signature(network, inference, fixed=self.raw == "fixed")
        with converting("tf2onnx"):
            graph, _ = tf2onnx.convert.from_function(
                function, input_signature=function.input_signature, opset=OPSET
            )
            onnx.helper.set_model_props(graph, {METADATA_KEY: json.dumps(inference.as_json())})
            onnx.checker.check_model(graph)
            onnx.save(graph, str(folder / self.model_file))
        labels = "".join(f"{name}\n" for name in inference.class_names)
        (folder / LABELS_FILE).write_text(labels, encoding="utf-8")
        contract = describe(function.get_concrete_function())
        return Written({**contract, "opset": OPSET}, num_bytes)
