"""TFLite exports: what they compute, what they hold, and what is refused."""

import numpy as np
import pytest

from keras_retinanet.detectors.load import load_detector
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.export.export import export_model
from keras_retinanet.export.manifest import read_manifest
from keras_retinanet.export.tflite import TFLiteExporter
from keras_retinanet.export.tflite_metadata import LABELS_FILE, read_file
from keras_retinanet.input_policy import InputPolicy


@pytest.fixture(scope="module")
def model(make_tiny):
    """Weights that are random, and scores high enough to be detections."""
    policy = InputPolicy("stretch", 64)
    names = ("ant", "bee", "cow")
    model = make_tiny(class_names=names, channels=8, input_policy=policy, prior=0.4)
    head = model.get_layer("class_head_predictions")
    head.kernel.assign(np.random.default_rng(0).normal(0, 0.3, head.kernel.shape))
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_model(model, tmp_path_factory.mktemp("tflite"), TFLiteExporter())


def test_float32_gives_the_model_s_detections(exported):
    version, parity = exported
    assert [path.name for path in version.parent.iterdir()] == ["1"]
    assert parity.num_detections > 0 and parity.num_mismatches == 0
    assert parity.box < 0.1 and parity.score < 1e-4


def test_the_file_is_complete(exported, model):
    file = exported[0] / "model.tflite"
    weights = sum(np.prod(v.shape) for v in model.trainable_variables)
    assert file.stat().st_size > 4 * weights
    assert read_file(file.read_bytes(), LABELS_FILE) == b"ant\nbee\ncow\n"
    assert load_detector(file).class_names == ("ant", "bee", "cow")
    assert read_manifest(exported[0])["settings"]["precision"] == "float32"


def test_int8_without_calibration_is_refused():
    """Fault 55."""
    with pytest.raises(DataError, match="--calibrate DATA"):
        TFLiteExporter(precision="int8")


@pytest.mark.parametrize("setting", ["precision", "postprocessing", "input_type"])
def test_unknown_settings_are_refused(setting):
    with pytest.raises(ConfigError, match="must be one of"):
        TFLiteExporter(**{setting: "other"})
