"""Every format exports every precision that trains, with the detections of the trained model."""

from functools import partial
from typing import get_args

import keras
import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config.schema import ModelConfig
from keras_retinanet.detection.runtimes.keras_model import detect_files
from keras_retinanet.export.export import export_model
from keras_retinanet.export.exporter import as_float32
from keras_retinanet.export.keras_exporter import KerasExporter
from keras_retinanet.export.onnx_exporter import OnnxExporter
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter
from keras_retinanet.geometry.boxes import pairwise_iou

pytestmark = pytest.mark.usefixtures("small_resnet18")

TRAINED = get_args(ModelConfig.model_fields["precision"].annotation)
MIXED = [name for name in TRAINED if name != "float32"]
SIDE = 64
# Of 8 and 11 bits of precision; the largest score difference between a mixed model and its float32
# copy that rounding explains.
ROUNDING = {"mixed_bfloat16": 0.02, "mixed_float16": 0.003}


@pytest.fixture(scope="module")
def models(make_finder, small_resnet18):
    """By precision, models with the same weights, which find something everywhere."""
    found = {}
    for precision in TRAINED:
        model = make_finder("stretch", dtype=precision)
        rng = np.random.default_rng(0)
        for head in ("class_head", "box_head"):
            kernel = model.get_layer(f"{head}_predictions").kernel
            kernel.assign(rng.normal(0, 0.3, kernel.shape))
        found[precision] = model
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(folder / f"{i}.png")
    return tuple(str(path) for path in sorted(folder.iterdir()))


def test_the_precisions_that_train_are_those_tested():
    assert TRAINED == ("float32", "mixed_bfloat16", "mixed_float16")


@pytest.mark.parametrize("precision", MIXED)
def test_a_float32_copy_has_the_same_weights_and_rounds_otherwise(models, precision):
    model = models[precision]
    copy = as_float32(model)
    assert {layer.compute_dtype for layer in copy.layers} == {"float32"}
    for a, b in zip(copy.get_weights(), model.get_weights(), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32)
    ours, theirs = (keras.ops.sigmoid(m(images)["class_logits"]) for m in (copy, model))
    difference = np.abs(np.asarray(ours) - np.asarray(theirs)).max()
    assert 0 < difference < ROUNDING[precision]


def test_a_float32_model_is_not_copied(models):
    assert as_float32(models["float32"]) is models["float32"]


@pytest.fixture(scope="module")
def trained(models, files):
    """By precision, what the model itself finds in each image."""
    return {name: dict(detections(model, files)) for name, model in models.items()}


def detections(detector, files):
    return detect_files(detector, files, np.array([SIDE] * 2), np.array([SIDE] * 2), batch_size=1)


@pytest.mark.parametrize("precision", MIXED)
def test_tflite(models, trained, files, precision, tmp_path, capfd):
    check(models[precision], trained[precision], TFLiteExporter(), files, tmp_path, capfd)


SETTINGS = {
    "tflite": TFLiteExporter,
    "tflite-float16": partial(TFLiteExporter, precision="float16"),
    "tflite-dynamic": partial(TFLiteExporter, precision="dynamic"),
    "tflite-int8": partial(TFLiteExporter, precision="int8"),
    "tflite-builtin": partial(TFLiteExporter, postprocessing="builtin"),
    "tflite-none": partial(TFLiteExporter, postprocessing="none"),
    "tflite-uint8": partial(TFLiteExporter, input_type="uint8"),
    "saved_model": SavedModelExporter,
    "saved_model-bfloat16": partial(SavedModelExporter, precision="bfloat16"),
    "saved_model-raw": partial(SavedModelExporter, raw="dynamic"),
    "onnx": OnnxExporter,
    "onnx-fixed": partial(OnnxExporter, raw="fixed"),
    "keras": KerasExporter,
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", TRAINED)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_format_and_setting(models, trained, files, precision, name, tmp_path, capfd):
    options = {}
    if name.startswith("onnx"):
        how = "needs ONNX: pip install 'keras-retinanet[onnx]'"
        pytest.importorskip("tf2onnx", reason=how)
        pytest.importorskip("onnxruntime", reason=how)
    if name == "tflite-int8":
        options = {"calibration_files": files}
    exporter = SETTINGS[name](**options)
    check(models[precision], trained[precision], exporter, files, tmp_path, capfd)


def check(model, expected, exporter, files, folder, capfd):
    """Export in silence, and find again what the model finds as it was trained.

    The gate compares with the float32 copy; here the trained model itself has the last word.
    """
    capfd.readouterr()
    version, parity = export_model(model, folder, exporter, images=files)
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
    assert parity.num_detections > 10
    found = dict(detections(next(iter(exporter.detectors(version).values())), files))
    for i, best in expected.items():
        same = found[i]["classes"] == best["classes"][0]
        overlaps = np.asarray(
            pairwise_iou(np.float32(best["boxes"][:1]), np.float32(found[i]["boxes"][same]))
        )
        # Where neighbours score alike, NMS may keep the next one: half of the box is common.
        alike = found[i]["scores"][same][overlaps[0] >= 0.5]
        assert alike.max(initial=0.0) == pytest.approx(best["scores"][0], abs=0.1)
