"""An imported model's exports find what the model finds."""

import dataclasses

import numpy as np
import pytest

from keras_retinanet.export.export import export_model
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter
from keras_retinanet.export.verify import FLOAT32
from keras_retinanet.weights.import_weights import import_weights
from tests.models.torch_networks import import_torchvision, torchvision_model
from tests.weights import (
    fizyr_network,
    keras_hub_detectors,
    model_garden_network,
    reference_networks,
)
from tests.weights.torch_writer import write_torch

NUM_CLASSES = 7
SIDE = 256


def of_torch(source, folder):
    rng = np.random.default_rng(0)
    layout = getattr(reference_networks, source.upper())
    arrays = reference_networks.random_arrays(layout, NUM_CLASSES, rng)
    return write_torch(folder / "model.pth", arrays)


def of_torchvision(source, folder):
    import_torchvision()
    import torch

    reference = torchvision_model(source.removeprefix("torchvision_"))
    torch.save(reference.state_dict(), folder / "model.pth")
    return folder / "model.pth"


def of_fizyr(_, folder):
    layers = fizyr_network.random_arrays(NUM_CLASSES, np.random.default_rng(0))
    # Higher than what is compared with fizyr's own post-processing, which has no top-k.
    layers["pyramid_classification"]["bias"] += 2.0
    return fizyr_network.write_h5(folder / "model.h5", layers)


def of_keras_hub(_, folder):
    pytest.importorskip("keras_hub", reason="what writes the file: pip install keras-hub")
    keras_hub_detectors.object_detector(num_classes=NUM_CLASSES).save(folder / "model.keras")
    return folder / "model.keras"


def of_model_garden(_, folder):
    arrays = model_garden_network.random_arrays(NUM_CLASSES + 1, np.random.default_rng(0))
    arrays["head/_classifier/bias"] += 1.0
    return model_garden_network.write_checkpoint(folder / "ckpt-1", arrays)


FILES = {
    "detectron2": of_torch,
    "mmdetection": of_torch,
    "torchvision_v1": of_torchvision,
    "torchvision_v2": of_torchvision,
    "fizyr": of_fizyr,
    "keras_hub": of_keras_hub,
    "model_garden": of_model_garden,
}


@pytest.mark.slow
@pytest.mark.parametrize("source", FILES)
def test_exports_of_an_imported_model(source, encoded, tmp_path):
    names = [f"class {i}" for i in range(NUM_CLASSES)]
    model = import_weights(FILES[source](source, tmp_path), class_names=names).model
    # Smaller than 640 to 1333, for time.
    model.input_policy = dataclasses.replace(model.input_policy, size=SIDE, max_size=400)
    image = tmp_path / "image.png"
    image.write_bytes(encoded(83, 121))
    for folder, exporter in (
        ("saved_model", SavedModelExporter()),
        ("tflite", TFLiteExporter(input_size=SIDE)),
    ):
        _, parity = export_model(model, tmp_path / folder, exporter, images=[str(image)])
        assert parity.num_detections > 20
        parity.refuse_unless_within(FLOAT32)
