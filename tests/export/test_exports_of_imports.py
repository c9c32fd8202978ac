"""An imported model's exports find what the model finds."""

import numpy as np
import pytest

from keras_retinanet.export.export import export_model
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter
from keras_retinanet.export.verify import FLOAT32
from keras_retinanet.weights.import_weights import import_weights
from tests.weights import reference_networks
from tests.weights.torch_writer import write_torch

NUM_CLASSES = 3


def write_file(source, folder):
    rng = np.random.default_rng(0)
    layout = getattr(reference_networks, source.upper())
    arrays = reference_networks.random_arrays(layout, NUM_CLASSES, rng)
    return write_torch(folder / "model.pth", arrays)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["detectron2", "mmdetection"])
def test_exports_of_an_imported_model(source, encoded, tmp_path):
    names = [f"class {i}" for i in range(NUM_CLASSES)]
    model = import_weights(write_file(source, tmp_path), class_names=names).model
    image = tmp_path / "image.png"
    image.write_bytes(encoded(83, 121))
    _, parity = export_model(
        model, tmp_path / "saved_model", SavedModelExporter(), images=[str(image)]
    )
    assert parity.num_detections > 20
    parity.refuse_unless_within(FLOAT32)
    _, parity = export_model(
        model, tmp_path / "tflite", TFLiteExporter(input_size=256), images=[str(image)]
    )
    assert parity.num_detections > 20
    parity.refuse_unless_within(FLOAT32)
