"""Export as a .keras file for inference: the weights and all settings, no optimizer."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from keras_retinanet.export.exporter import Exporter, Written, weights_bytes
from keras_retinanet.export.frozen import output_depths
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import save_for_inference


@dataclass(frozen=True)
class KerasExporter(Exporter):
    """Writes model.keras, which keeps the precision that the model was trained in."""

    format: ClassVar[str] = "keras"
    model_file: ClassVar[str] = "model.keras"

    def as_clients_run_it(self, model: RetinaNet) -> RetinaNet:
        return model

    def write(self, model: RetinaNet, folder: Path) -> Written:
        save_for_inference(model, folder / self.model_file)
        return Written(
            contract={
                "inputs": {"images": {"dtype": "float32", "shape": [None, None, None, 3]}},
                "outputs": {
                    name: {"dtype": "float32", "shape": [None, None, depth]}
                    for name, depth in output_depths(model).items()
                },
            },
            weights_bytes=weights_bytes(model),
        )
