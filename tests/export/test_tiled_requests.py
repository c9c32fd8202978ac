"""Tiles that an export's graph cuts: the detections of `TiledDetector`, whatever it finds."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.cli.arguments import tiled
from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.detection.runtimes.saved_model_runtime import open_signatures
from keras_retinanet.detection.tiled_detector import TiledDetector, detector_for, tiling_in_use
from keras_retinanet.errors import ConfigError
from keras_retinanet.export.export import export_model
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.export.saved_model.tiled_requests import detect_in_tiles
from keras_retinanet.export.verify import FLOAT32, compare
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.tiling import WHOLE_IMAGES, Tiling

TILE = 64
MOST = 30


class Painted:
    """Finds every rectangle of one colour, or the part of it that it sees, and some twice."""

    class_names = ("a", "b", "c")
    tiling = WHOLE_IMAGES

    def __init__(self, inference):
        self.inference = inference

    def prepare(self):
        pass

    def detect_pixels(self, images):
        return [self.one(image[..., 0]) for image in images]

    def one(self, codes):
        found = []
        for code in np.unique(codes[(codes > 0) & (codes < 100)]):
            rows, columns = np.nonzero(codes == code)
            box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            found.append((0.3 + len(rows) / 5000 + code / 1.37e4, code, box))
            if code % 4 == 0:  # less sure, and a little beside
                found.append((0.2 + code / 1.37e4, code, tuple(side + 1 for side in box)))
        found = sorted(found, reverse=True)[:MOST]
        return {
            "boxes": np.array([box for *_, box in found], np.float32).reshape(-1, 4),
            "scores": np.array([score for score, *_ in found], np.float32),
            "classes": np.array([code % 3 for _, code, _ in found], np.int32),
        }

    def in_graph(self, inputs, sizes):
        """The same as TensorFlow's function, filled up."""

        def find(inputs):
            found = [self.one(image[..., 0]) for image in inputs]
            padded = {}
            for name in ("boxes", "scores", "classes"):
                rows = [
                    np.pad(f[name], [(0, MOST - len(f[name]))] + [(0, 0)] * (f[name].ndim - 1))
                    for f in found
                ]
                padded[name] = np.stack(rows)
            counts = np.array([len(f["scores"]) for f in found], np.int32)
            return padded["boxes"], padded["scores"], padded["classes"], counts

        types = (tf.float32, tf.float32, tf.int32, tf.int32)
        names = ("boxes", "scores", "classes", "num_detections")
        return dict(zip(names, tf.numpy_function(find, [inputs], types)))


def scene(rng, height, width, largest):
    """Rectangles over and beside one another, in 60 colours."""
    codes = np.zeros((height, width), np.uint8)
    for code in range(1, 61):
        h, w = rng.integers(4, largest, 2)
        top, left = rng.integers(0, max(1, height - h)), rng.integers(0, max(1, width - w))
        codes[top : top + h, left : left + w] = code
    return np.stack([codes] * 3, axis=-1)


@pytest.mark.parametrize("nms_across_classes", [False, True])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.45])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 65), (50, 300), (200, 160)])
def test_the_graph_cuts_and_merges_as_python_does(rng, height, width, overlap, nms_across_classes):
    inference = InferenceSettings(max_detections=MOST, nms_across_classes=nms_across_classes)
    painted = Painted(inference)
    settings = SimpleNamespace(
        tiling=Tiling(TILE, overlap),
        input_policy=InputPolicy("square", TILE),  # tiles are seen as they are
        inference=inference,
        class_names=painted.class_names,
    )
    cut = tf.function(
        lambda image: detect_in_tiles(image, settings, painted.in_graph),
        input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)],
    )
    for largest in (12, 40, 90):
        image = scene(rng, height, width, largest)
        (expected,) = TiledDetector(painted, settings.tiling).detect_pixels([image])
        found = {name: value[0].numpy() for name, value in cut(image).items()}
        count = found["num_detections"]
        assert count == len(expected["scores"]) > 0
        np.testing.assert_allclose(found["scores"][:count], expected["scores"], rtol=1e-6)
        np.testing.assert_allclose(found["boxes"][:count], expected["boxes"], rtol=1e-6)
        np.testing.assert_array_equal(found["classes"][:count], expected["classes"])
        assert not found["scores"][count:].any() and found["scores"].shape == (MOST,)


def test_an_image_without_any_object():
    inference = InferenceSettings(max_detections=MOST)
    painted = Painted(inference)
    settings = SimpleNamespace(
        tiling=Tiling(TILE), input_policy=InputPolicy("square", TILE), inference=inference
    )
    settings.class_names = painted.class_names
    found = detect_in_tiles(np.zeros((150, 90, 3), np.uint8), settings, painted.in_graph)
    assert int(found["num_detections"][0]) == 0 and not found["boxes"].numpy().any()


@pytest.fixture(scope="module", params=["square", "shorter_side"])
def exported(request, make_tiny, small_resnet18, tmp_path_factory):
    """An export of a model with tiles, and images of several sizes."""
    folder = tmp_path_factory.mktemp("tiled")
    rng = np.random.default_rng(0)
    model = make_tiny(
        channels=8,
        head_depth=1,
        prior=0.3,
        input_policy=InputPolicy(request.param, 64, 96),
        inference=InferenceSettings(max_detections=20),
        tiling=Tiling(48, 0.25),
    )
    files = []
    for i, (height, width) in enumerate([(48, 48), (100, 130), (40, 90)]):
        noise = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        files.append(str(folder / f"{i}.png"))
        noise.resize((width, height)).save(files[-1])
    version, parity = export_model(
        model, folder / "export", SavedModelExporter(warmup=False), images=files
    )
    return SimpleNamespace(model=model, version=version, parity=parity, files=files)


def test_an_export_with_tiles_finds_what_the_model_finds(exported):
    exported.parity.refuse_unless_within(FLOAT32)
    detectors = open_signatures(exported.version)
    cutting = {"serve_bytes", "serve_tf_example"}
    for name in (*cutting, "serving_default"):
        assert (tiling_in_use(detectors[name]).size == 48) == (name in cutting)
        parity = compare(exported.model, detectors[name], exported.files)
        parity.refuse_unless_within(FLOAT32)
        assert parity.num_detections > 20
    contract = json.loads((exported.version / "manifest.json").read_text())["contract"]
    assert cutting == {
        name for name, about in contract["signatures"].items() if about["cuts_tiles"]
    }


def test_one_request_is_as_each_image_alone(exported):
    serve = tf.saved_model.load(str(exported.version)).signatures["serve_bytes"]
    files = [Path(file).read_bytes() for file in exported.files]
    together = serve(image_bytes=tf.constant([*files, b"no image"]))
    assert together["is_valid"].numpy().tolist() == [True, True, True, False]
    assert together["num_detections"][-1] == 0
    for i, file in enumerate(files):
        alone = serve(image_bytes=tf.constant([file]))
        for name, value in alone.items():
            np.testing.assert_array_equal(value[0], together[name][i], err_msg=name)


def test_what_is_loaded_does_not_cut_twice(exported):
    detector = load_detector(exported.version)
    assert detector.tiling is WHOLE_IMAGES and tiling_in_use(detector) == exported.model.tiling
    assert tiled(detector, None, None) is detector
    pixels = np.asarray(Image.open(exported.files[1]))
    (expected,) = detector_for(exported.model).detect_pixels([pixels])
    (found,) = detector.detect_pixels([pixels])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
    with pytest.raises(ConfigError, match="cuts images into tiles of 48 px itself"):
        tiled(detector, 0, None)


def test_an_export_of_before_is_cut_by_python(exported, tmp_path):
    """Its manifest does not say that it cuts, and its graph does not."""
    copy = tmp_path / "1"
    shutil.copytree(exported.version, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    for about in manifest["contract"]["signatures"].values():
        del about["cuts_tiles"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    detector = load_detector(copy)
    assert detector.tiling == exported.model.tiling
    assert isinstance(tiled(detector, None, None), TiledDetector)
    assert dataclasses.asdict(tiling_in_use(detector)) == dataclasses.asdict(WHOLE_IMAGES)
