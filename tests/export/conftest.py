"""What the tests of exports share: encoded images, and one exported SavedModel of each input."""

import fcntl
import io
import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.export.export import export_model
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy

NAMES = ("cat", "dog", "élan")


@pytest.fixture(scope="session")
def encoded():
    """A function: height, width, seed, format -> the bytes of an image file."""

    def make(height, width, seed=0, kind="PNG"):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (max(height // 8, 1), max(width // 8, 1), 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).resize((width, height)).save(file, kind)
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def make_finder(make_tiny):
    """A function that builds a model which finds something everywhere: a high prior does."""

    def make(resize="square", **settings):
        policy = InputPolicy(resize, size=64, max_size=96)
        settings = {
            "class_names": NAMES,
            "inference": InferenceSettings(max_detections=20),
            **settings,
        }
        return make_tiny(prior=0.3, channels=8, input_policy=policy, **settings)

    return make


@pytest.fixture(scope="session")
def export_once(make_finder, encoded, tmp_path_factory):
    """A function: resize mode -> its SavedModel, the same in all modules and test processes."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all processes
    exports = {}

    def export(resize):
        if resize not in exports:
            model = make_finder(resize)
            folder, measured = base / f"exported-{resize}", base / f"{resize}.pickle"
            with open(base / f"{resize}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not measured.exists():
                    image = base / f"{resize}.png"
                    image.write_bytes(encoded(80, 120))
                    _, parity = export_model(
                        model, folder, SavedModelExporter(), images=[str(image)]
                    )
                    measured.write_bytes(pickle.dumps(parity))
            parity = pickle.loads(measured.read_bytes())
            version = folder / "1"
            signatures = tf.saved_model.load(str(version)).signatures
            exports[resize] = SimpleNamespace(
                model=model, version=version, parity=parity, signatures=signatures
            )
        return exports[resize]

    return export


@pytest.fixture(scope="module", params=["shorter_side", "square"])
def exported(request, export_once, small_resnet18):
    return export_once(request.param)


@pytest.fixture(scope="module")
def square(export_once, small_resnet18):
    return export_once("square")
