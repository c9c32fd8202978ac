"""Export as a .keras file for inference: the weights and all settings, no optimizer."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from keras_retinanet.detection.detector import Detector
from keras_retinanet.detection.load import load_detector
from keras_retinanet.export.exporter import Written, weights_bytes
from keras_retinanet.export.verify import FLOAT32, Tolerance
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import save_for_inference

MODEL_FILE = "model.keras"


@dataclass(frozen=True)
class KerasExporter:
    """Writes model.keras."""

    format: ClassVar[str] = "keras"

    @property
    def tolerance(self) -> Tolerance:
        return FLOAT32

    def write(self, model: RetinaNet, folder: Path) -> Written:
        save_for_inference(model, folder / MODEL_FILE)
        return Written(
            contract={
                "inputs": {"images": {"dtype": "float32", "shape": [None, None, None, 3]}},
                "outputs": {
                    "class_logits": {
                        "dtype": "float32",
                        "shape": [None, None, model.num_classes],
                    },
                    "box_deltas": {"dtype": "float32", "shape": [None, None, 4]},
                },
            },
            weights_bytes=weights_bytes(model),
        )

    def detectors(self, folder: Path) -> dict[str, Detector]:
        return {MODEL_FILE: load_detector(folder / MODEL_FILE)}
