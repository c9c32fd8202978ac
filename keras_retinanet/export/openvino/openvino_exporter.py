"""Export for OpenVINO and its Model Server: one file for CPUs, in float32, bfloat16 or int8."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.pipeline.batches import preprocess
from keras_retinanet.data.source import load_dataset
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.manifest import LABELS_FILE
from keras_retinanet.detection.runtimes.openvino_runtime import (
    PRECISION_KEY,
    SETTINGS_KEY,
    bare_detector,
)
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.evaluation.evaluate import evaluate
from keras_retinanet.export.calibration_images import calibration_inputs, refuse_no_images
from keras_retinanet.export.exporter import Exporter, Written
from keras_retinanet.export.frozen import freeze
from keras_retinanet.export.openvino.openvino_graph import (
    import_openvino,
    network_graph,
    with_detections,
    with_raw_outputs,
)
from keras_retinanet.export.openvino.quantize import import_nncf, quantize, quantize_within
from keras_retinanet.export.saved_model.signatures import (
    RAW_VARIANTS,
    SIGNATURES,
    fixed_sides,
    input_sides,
)
from keras_retinanet.export.verify import FLOAT32, Tolerance
from keras_retinanet.models.retinanet import RetinaNet

# bfloat16 and int8 move weak detections in and out, so that the confident ones are judged.
TOLERANCES = {
    "float32": FLOAT32,
    "bfloat16": Tolerance(agreement=0.9, ap_drop=0.002),
    "int8": Tolerance(agreement=0.8, ap_drop=0.005),
}
# What weights take: bfloat16 computes from halves of float32.
_BYTES_PER_WEIGHT = {"float32": 4, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True)
class OpenVINOExporter(Exporter):
    """Writes model.xml and model.bin: "input_tensor" uint8 [N, H, W, 3] in, detections out.

    Images may have any size, all of a request the same. Outputs are those of a SavedModel's
    signature `serving_default`. The settings of inference and the precision are in the file.

    Args:
        precision: of the network: "float32"; "bfloat16", which OpenVINO computes in where the CPU
            has it, from weights of 16 bits; "int8", maps and weights, calibrated. What follows on
            the network is float32 in all.
        raw: "dynamic" or "fixed" in place of these writes what `raw_signature` describes.
        calibration_files: images to calibrate "int8" with.
        calibration_data: where they come from, as `load_dataset` takes it.
        max_ap_drop: of "int8": as many layers stay float32 as it takes for AP (0 to 1), on the
            calibration images and their objects, to drop by no more.

    Raises:
        ConfigError: a setting is unknown.
        DataError: "int8" without calibration files.
    """

    format: ClassVar[str] = "openvino"
    model_file: ClassVar[str] = "model.xml"

    precision: str = "float32"
    raw: str | None = None
    calibration_files: tuple[str, ...] = ()
    calibration_data: str | None = None
    max_ap_drop: float | None = None

    def __post_init__(self) -> None:
        if self.precision not in TOLERANCES:
            raise ConfigError(
                f"--precision for openvino must be one of {', '.join(TOLERANCES)}, "
                f"not {self.precision!r}"
            )
        if self.raw not in (None, *RAW_VARIANTS):
            raise ConfigError(f"--raw must be one of {', '.join(RAW_VARIANTS)}, not {self.raw!r}")
        if self.precision == "int8":
            refuse_no_images(self.calibration_files)
        if self.max_ap_drop is not None and self.precision != "int8":
            raise ConfigError("--max-ap-drop goes with --precision int8 alone")

    @property
    def tolerance(self) -> Tolerance:
        return TOLERANCES[self.precision]

    def write(self, model: RetinaNet, folder: Path) -> Written:
        openvino = import_openvino()
        if self.precision == "int8":
            import_nncf()
        settings = DetectorSettings.of_model(model)
        sides = (None, None) if self.raw == "dynamic" else input_sides(settings)
        frozen, num_bytes = freeze(model, "float32", sides)
        network = network_graph(frozen, settings, sides)
        if self.precision == "int8":
            network = self._quantized(network, settings)
        if self.raw:
            if self.raw == "fixed":
                network.reshape([1, *fixed_sides(settings), 3])
            graph = with_raw_outputs(network, settings)
        else:
            graph = with_detections(network, settings)
        graph.set_rt_info(json.dumps(settings.as_json()), SETTINGS_KEY)
        graph.set_rt_info(self.precision, PRECISION_KEY)
        openvino.save_model(
            graph, folder / self.model_file, compress_to_fp16=self.precision == "bfloat16"
        )
        labels = "".join(f"{name}\n" for name in settings.class_names)
        (folder / LABELS_FILE).write_text(labels, encoding="utf-8")
        contract = {
            "kind": "network_inputs" if self.raw else "images",
            "first_class": 0,
            **_described(graph),
        }
        return Written(
            {"signatures": {SIGNATURES["images"]: contract}},
            num_bytes // 4 * _BYTES_PER_WEIGHT[self.precision],
        )

    def _quantized(self, network: Any, settings: DetectorSettings) -> Any:
        policy = settings.input_policy
        inputs = calibration_inputs(
            self.calibration_files, lambda image: preprocess(image, policy)[0][None]
        )
        if self.max_ap_drop is None:
            return quantize(network, inputs)
        dataset = self._calibration_dataset()

        def average_precision(compiled: Any, images: Sequence[int]) -> float:
            detector = bare_detector(compiled, settings)
            return float(evaluate(detector, dataset.select(images))[0]["AP"])

        return quantize_within(network, inputs, average_precision, len(dataset), self.max_ap_drop)

    def _calibration_dataset(self) -> DetectionDataset:
        """Return the calibration images with their objects."""
        if self.calibration_data is None:
            raise DataError("--max-ap-drop needs the objects in the images: give --calibrate DATA")
        dataset = load_dataset(self.calibration_data, "train")
        wanted = set(self.calibration_files)
        return dataset.select([i for i, path in enumerate(dataset.image_paths) if path in wanted])


def _described(graph: Any) -> dict[str, Any]:
    """Return the input and the outputs of a model of OpenVINO as JSON."""

    def plain(port: Any) -> dict[str, Any]:
        sides = [len(side) if side.is_static else None for side in port.partial_shape]
        return {"dtype": np.dtype(port.element_type.to_dtype()).name, "shape": sides}

    return {
        "inputs": {port.any_name: plain(port) for port in graph.inputs},
        "outputs": {port.any_name: plain(port) for port in graph.outputs},
    }
