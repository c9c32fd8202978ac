"""Clients that are not ours run the TFLite file: LiteRT and MediaPipe Tasks' ObjectDetector."""

import os

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.data.source import load_dataset
from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.evaluation.evaluate import evaluate
from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter
from keras_retinanet.geometry.inference_settings import InferenceSettings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_resnet18")]

NAMES = ("cat", "dog", "élan")
SIDE = 64


@pytest.fixture(scope="module")
def model(make_finder, small_resnet18):
    model = make_finder(
        "stretch", class_names=NAMES, inference=InferenceSettings(max_detections=25)
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
    # It cuts places and sizes to whole pixels: an edge on the right can be off by both.
    compare(boxes, scores, classes, expected, tolerance, rounding=2.0)


class MediaPipeDetector:
    """MediaPipe as `evaluate` takes a detector: it opens and scales the photographs itself."""

    def __init__(self, path):
        self.path = path
        self.class_names = load_detector(path).class_names

    def detect_files(self, files, heights, widths, **_):
        for i, file in enumerate(files):
            pixels = np.asarray(Image.open(file).convert("RGB"))
            boxes, scores, names = mediapipe_detections(self.path, pixels)
            boxes = boxes.reshape(-1, 4) + np.array([0.5, 0.5, 1.0, 1.0])  # what cutting takes
            classes = [self.class_names.index(name) for name in names]
            yield i, {"boxes": boxes, "scores": scores, "classes": np.array(classes, np.int32)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The TFLite file of a model that was trained on BCCD."""
    given = os.environ.get("KERAS_RETINANET_EDGE_MODEL")
    if not given:
        pytest.skip("KERAS_RETINANET_EDGE_MODEL must name a .keras file trained on BCCD")
    folder = tmp_path_factory.mktemp("trained")
    TFLiteExporter().write(load_model(given), folder)
    return folder / "model.tflite"


@pytest.mark.real_data
def test_mediapipe_finds_in_photographs_what_our_evaluation_does(trained, bccd_val):
    """Scaled by us, box by box."""
    detector = load_detector(trained)
    side = detector.input_policy.size
    far = []
    for file in bccd_val.image_paths[:16]:
        pixels = np.asarray(Image.open(file).convert("RGB").resize((side, side)))
        found = {k: v[0] for k, v in detector(pixels[None], np.array([[side, side]])).items()}
        boxes, scores, names = mediapipe_detections(trained, pixels)
        classes = np.array([detector.class_names.index(name) for name in names])
        for j in np.flatnonzero(found["scores"] > 0.3):
            same = np.flatnonzero(classes == found["classes"][j])
            distance = np.abs(boxes[same] - found["boxes"][j]).max(axis=1)
            score = scores[same][distance.argmin()]
            # It cuts places and sizes to whole pixels: an edge can be off by two.
            far.append(distance.min() > 2.1 or abs(score - found["scores"][j]) > 1e-3)
    print(f"{len(far) - sum(far)} of {len(far)} boxes are MediaPipe's, too")
    # Suppression of a pair whose IoU is the threshold's goes either way with the last digits.
    assert len(far) > 50 and np.mean(far) < 0.02


@pytest.mark.real_data
def test_mediapipe_reaches_our_ap_on_photographs(trained, bccd_val):
    """Scaled by MediaPipe, whose pixels are not ours."""
    ours = evaluate(load_detector(trained), bccd_val)[0]["AP"]
    theirs = evaluate(MediaPipeDetector(trained), bccd_val)[0]["AP"]
    print(f"AP on the file {ours:.4f}, through MediaPipe {theirs:.4f}")
    assert ours > 0.2 and abs(ours - theirs) < 0.01


@pytest.fixture(scope="module")
def bccd_val():
    if not os.environ.get("KERAS_RETINANET_DATA"):
        pytest.skip("KERAS_RETINANET_DATA is not set")
    return load_dataset("configs/data/bccd.yaml", "val")
