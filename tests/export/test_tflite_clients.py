"""Clients that are not ours run the TFLite file: LiteRT and MediaPipe Tasks' ObjectDetector."""

import os
from pathlib import Path

import numpy as np
import pytest

from keras_retinanet.detectors.keras_model import KerasDetector
from keras_retinanet.export.tflite import TFLiteExporter
from keras_retinanet.input_policy import InputPolicy

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_resnet18")]

NAMES = ("cat", "dog", "élan")
SIDE = 64


@pytest.fixture(scope="module")
def model(make_tiny, small_resnet18):
    model = make_tiny(
        class_names=NAMES,
        prior=0.3,
        channels=8,
        input_policy=InputPolicy("stretch", size=SIDE),
        max_detections=25,
    )
    kernel = model.get_layer("class_head_predictions").kernel
    kernel.assign(np.random.default_rng(0).normal(0, 0.3, kernel.shape))
    return model


@pytest.fixture(scope="module")
def image():
    # Of the input's own size: what clients make of other sizes is theirs.
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(model, image):
    found = KerasDetector(model)(image[None], np.array([[SIDE, SIDE]], np.int32))
    return {name: value[0] for name, value in found.items()}


@pytest.fixture(
    scope="module",
    params=[
        {},
        {"postprocessing": "builtin"},
        {"precision": "float16"},
        {"input_type": "uint8"},
        {"precision": "int8"},
    ],
    ids=lambda value: "-".join(value.values()) or "float32",
)
def exported(request, model, image, tmp_path_factory):
    from PIL import Image

    settings = dict(request.param)
    folder = tmp_path_factory.mktemp("tflite")
    if settings.get("precision") == "int8":
        Image.fromarray(image).save(folder / "calibration.png")
        settings["calibration_files"] = (str(folder / "calibration.png"),)
    TFLiteExporter(**settings).write(model, folder)
    tolerance = {"float16": (0.5, 5e-3), "int8": (8.0, 0.1)}.get(
        settings.get("precision"), (0.1, 1e-4)
    )
    return folder / "model.tflite", tolerance


def compare(boxes, scores, classes, expected, tolerance, rounding=0.0):
    """Each of the best detections has its like; weaker ones swap places as scores round."""
    box_limit, score_limit = tolerance
    for i in range(5):
        same = np.flatnonzero(classes == expected["classes"][i])
        assert len(same)
        distance = np.abs(boxes[same] - expected["boxes"][i]).max(axis=1)
        nearest = same[distance.argmin()]
        assert distance.min() <= box_limit + rounding
        assert abs(scores[nearest] - expected["scores"][i]) <= score_limit


def test_litert(exported, image, expected):
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="pip install ai-edge-litert")
    path, tolerance = exported
    interpreter = litert.Interpreter(str(path), num_threads=2)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    interpreter.set_tensor(given["index"], image[None].astype(given["dtype"]))
    interpreter.invoke()
    outputs = {
        o["name"]: interpreter.get_tensor(o["index"])[0] for o in interpreter.get_output_details()
    }
    boxes = outputs["location"][:, [1, 0, 3, 2]] * SIDE
    assert outputs["number of detections"] == 25
    compare(boxes, outputs["score"], outputs["category"], expected, tolerance)


def mediapipe_detections(path, image):
    mediapipe = pytest.importorskip("mediapipe", reason="pip install mediapipe")
    from mediapipe.tasks import python
    from mediapipe.tasks.python import vision

    options = vision.ObjectDetectorOptions(
        base_options=python.BaseOptions(model_asset_path=str(path)), score_threshold=0.05
    )
    with vision.ObjectDetector.create_from_options(options) as detector:
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        found = detector.detect(picture).detections
    boxes = [(d.bounding_box, d.categories[0]) for d in found]
    return (
        np.array([[b.origin_x, b.origin_y, b.origin_x + b.width, b.origin_y + b.height]
                  for b, _ in boxes], np.float64),
        np.array([c.score for _, c in boxes]),
        [c.category_name for _, c in boxes],
    )  # fmt: skip


def test_mediapipe_takes_the_file_as_it_is(exported, image, expected):
    path, tolerance = exported
    boxes, scores, names = mediapipe_detections(path, image)
    classes = np.array([NAMES.index(name) for name in names])
    # It gives whole pixels.
    compare(boxes, scores, classes, expected, tolerance, rounding=1.0)


@pytest.mark.real_data
def test_mediapipe_finds_on_photographs_what_our_evaluation_does(make_tiny, tmp_path):
    """Photographs of another size than the input's: MediaPipe's scaling against ours."""
    from PIL import Image

    data = os.environ.get("KERAS_RETINANET_DATA", "../shared/data")
    files = sorted(Path(data, "bccd", "JPEGImages").glob("*.jpg"))[:8]
    trained = os.environ.get("KERAS_RETINANET_EDGE_MODEL")
    if not files or not trained:
        pytest.skip("needs BCCD in KERAS_RETINANET_DATA, and a model trained on it in "
                    "KERAS_RETINANET_EDGE_MODEL")  # fmt: skip
    from keras_retinanet.detectors.load import load_detector
    from keras_retinanet.model_files import load_model

    model = load_model(trained)
    TFLiteExporter().write(model, tmp_path)
    detector = load_detector(tmp_path / "model.tflite")
    sizes = np.array([Image.open(file).size for file in files])
    found = dict(detector.detect_files([str(f) for f in files], sizes[:, 1], sizes[:, 0]))
    for i, file in enumerate(files):
        pixels = np.asarray(Image.open(file).convert("RGB"))
        boxes, scores, names = mediapipe_detections(tmp_path / "model.tflite", pixels)
        classes = np.array([model.class_names.index(name) for name in names])
        for j in np.flatnonzero(found[i]["scores"] > 0.5):
            same = np.flatnonzero(classes == found[i]["classes"][j])
            distance = np.abs(boxes[same] - found[i]["boxes"][j]).max(axis=1)
            assert distance.min() <= 12  # of 640 pixels
            assert abs(scores[same][distance.argmin()] - found[i]["scores"][j]) < 0.1
