"""Detections in tiles, moved and merged: as in the whole image, for small objects."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.detection.detect import detect
from keras_retinanet.detection.predict import predict
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.detection.tiled_detector import (
    TiledDetector,
    detector_for,
    merged,
    tiling_in_use,
    with_tiles,
)
from keras_retinanet.evaluation.evaluate import evaluate
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.tiling import WHOLE_IMAGES, Tiling


class Coloured:
    """Finds every coloured rectangle, or the part of it that it sees: colour k is object k."""

    class_names = ("even", "odd")
    inference = InferenceSettings(max_detections=1000)
    tiling = WHOLE_IMAGES

    def __init__(self):
        self.sizes = []

    def prepare(self):
        self.sizes = []

    def detect_pixels(self, images):
        self.sizes.append(len(images))
        return [
            self.one(image[..., 0].astype(int) + 256 * image[..., 1].astype(int))
            for image in images
        ]

    @staticmethod
    def one(codes):
        found = []
        for code in np.unique(codes[codes > 0]):
            rows, columns = np.nonzero(codes == code)
            box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            # The more is seen of it, the surer.
            found.append((len(rows), code, box))
        found.sort(reverse=True)
        return {
            "boxes": np.array([box for *_, box in found], float).reshape(-1, 4),
            "scores": np.array([0.5 + count / 1e5 for count, *_ in found]),
            "classes": np.array([code % 2 for _, code, _ in found], int),
        }


def scene(height, width, boxes):
    codes = np.zeros((height, width), int)
    for k, (x1, y1, x2, y2) in enumerate(boxes, 1):
        codes[y1:y2, x1:x2] = k
    return np.stack([codes % 256, codes // 256, np.zeros_like(codes)], axis=-1).astype(np.uint8)


def separate_boxes(count, side, height, width, seed=0):
    """Boxes of about a side, apart from each other."""
    rng, boxes = np.random.default_rng(seed), []
    while len(boxes) < count:
        w, h = rng.integers(side // 2, side + 1, 2)
        x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        box = (x, y, x + int(w), y + int(h))
        if all(
            box[0] > b[2] + 1 or b[0] > box[2] + 1 or box[1] > b[3] + 1 or b[1] > box[3] + 1
            for b in boxes
        ):
            boxes.append(box)
    return boxes


def test_every_small_object_is_found_once_and_whole():
    boxes = separate_boxes(300, 30, 900, 1300)
    detector = TiledDetector(Coloured(), Tiling(256, 0.25))
    (found,) = detector.detect_pixels([scene(900, 1300, boxes)])
    assert sorted(map(tuple, found["boxes"].astype(int).tolist())) == sorted(boxes)
    by_box = {tuple(b): c for b, c in zip(found["boxes"].astype(int).tolist(), found["classes"])}
    assert all(by_box[box] == k % 2 for k, box in enumerate(boxes, 1))
    assert (np.diff(found["scores"]) <= 0).all()


def test_parts_of_a_large_object_within_others_are_left_out():
    # 150 x 40: larger than the overlap of 51 in one direction; whole in one of the tiles.
    boxes = [(170, 100, 320, 140)]
    detector = TiledDetector(Coloured(), Tiling(256, 0.2))
    (found,) = detector.detect_pixels([scene(256, 460, boxes)])
    assert len(detector.tiling.tiles(256, 460)) == 2
    # Neither tile (0 to 256 and 204 to 460) sees it whole: two parts are left, no more.
    assert found["boxes"].astype(int).tolist() == [[204, 100, 320, 140], [170, 100, 256, 140]]
    inside = [(210, 100, 340, 140)]  # the second sees all of it
    (found,) = detector.detect_pixels([scene(256, 460, inside)])
    assert found["boxes"].astype(int).tolist() == [[210, 100, 340, 140]]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_are_of_one_image_and_no_larger_than_asked(tmp_path, batch_size):
    paths = []
    for i in range(2):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(scene(300, 400, separate_boxes(20, 20, 300, 400, seed=i))).save(paths[-1])
    detector = TiledDetector(Coloured(), Tiling(128, 0.25))
    sides = np.array([300, 300]), np.array([400, 400])
    found = dict(detector.detect_files(paths, *sides, batch_size=batch_size))
    assert [len(found[i]["scores"]) for i in range(2)] == [20, 20]
    num_tiles = len(detector.tiling.tiles(300, 400))
    assert max(detector.detector.sizes) == min(batch_size, num_tiles)
    assert sum(detector.detector.sizes) == 2 * num_tiles
    plan = detector.batch_plan(*sides, batch_size=batch_size)
    assert [index.tolist() for index in plan] == [[0], [1]]


def test_an_image_of_one_tile_goes_through_as_it_is():
    inner = Coloured()
    (found,) = TiledDetector(inner, Tiling(128)).detect_pixels([scene(100, 128, [(0, 0, 9, 9)])])
    assert inner.sizes == [1] and len(found["scores"]) == 1


def iou(a, b):
    common = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common)


@pytest.mark.parametrize("seed", range(5))
def test_merging_is_nms_within_each_class(seed):
    """Against a loop in float64, at the far corner of a huge image."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (200, 2)) + 30_000
    boxes = np.concatenate([corners, corners + rng.uniform(20, 40, (200, 2))], axis=1)
    found = {
        "boxes": boxes,
        "scores": rng.permutation(200) / 200,
        "classes": rng.integers(0, 3, 200),
    }
    settings = InferenceSettings(nms_iou_threshold=0.4, max_detections=25)
    kept = []
    for i in np.argsort(-found["scores"]):
        same = [j for j in kept if found["classes"][j] == found["classes"][i]]
        if all(iou(boxes[i], boxes[j]) <= 0.4 for j in same):
            kept.append(i)
    result = merged(found, settings)
    np.testing.assert_array_equal(result["boxes"], boxes[kept[:25]])
    np.testing.assert_array_equal(result["classes"], found["classes"][kept[:25]])


def test_merging_across_classes():
    box = [0.0, 0.0, 10.0, 10.0]
    found = {
        "boxes": np.array([box, box, [50.0, 50.0, 60.0, 60.0]]),
        "scores": np.array([0.6, 0.9, 0.5]),
        "classes": np.array([0, 1, 0]),
    }
    assert merged(found, InferenceSettings())["classes"].tolist() == [1, 0, 0]
    across = merged(found, InferenceSettings(nms_across_classes=True))
    assert across["classes"].tolist() == [1, 0]
    assert across["scores"].tolist() == [0.9, 0.5]


def test_nothing_to_merge():
    none = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "classes": np.zeros(0, int)}
    assert merged(none, InferenceSettings())["boxes"].shape == (0, 4)


@pytest.fixture(scope="module")
def model(make_tiny, small_resnet18):
    return make_tiny(
        channels=8,
        prior=0.3,
        inference=InferenceSettings(max_detections=40),
        input_policy=InputPolicy("square", 64),
        tiling=Tiling(96, 0.25),
    )


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)


def test_a_model_that_has_tiles_is_used_with_them(model, noise, tmp_path):
    """By `detect`, `predict` and `evaluate`; and each tile is an image of its own."""
    assert tiling_in_use(detector_for(model)) == Tiling(96, 0.25)
    plain = KerasDetector(model)
    (expected,) = with_tiles(plain).detect_pixels([noise])
    candidates = [
        found["boxes"] + [*tile[:2], *tile[:2]]
        for tile in Tiling(96, 0.25).tiles(200, 300)
        for found in plain.detect_pixels([noise[tile[1] : tile[3], tile[0] : tile[2]]])
    ]
    candidates = np.concatenate(candidates)
    assert len(expected["boxes"]) == 40
    for box in expected["boxes"]:
        assert np.abs(candidates - box).max(axis=1).min() < 1e-3
    found = model.detect(noise)
    np.testing.assert_allclose(found.boxes, expected["boxes"], atol=1e-3)
    Image.fromarray(noise).save(tmp_path / "a.png")
    predict(model, tmp_path / "a.png", tmp_path / "out", min_score=0)
    (image,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
    boxes = [detection["box"] for detection in image["detections"]]
    np.testing.assert_allclose(boxes, expected["boxes"], atol=0.02)
    np.testing.assert_allclose(detect(plain, [noise])[0].boxes, expected["boxes"], atol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_same_detections_whatever_the_batch_size(model, noise, tmp_path, batch_size):
    path = str(tmp_path / "a.png")
    Image.fromarray(noise).save(path)
    detector = with_tiles(KerasDetector(model))
    sides = np.array([200]), np.array([300])
    ((_, found),) = detector.detect_files([path], *sides, batch_size=batch_size)
    ((_, expected),) = detector.detect_files([path], *sides, batch_size=64)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-3)


def test_tiles_are_part_of_a_saved_model(model, tmp_path):
    import keras

    model.save(tmp_path / "x.keras")
    assert keras.saving.load_model(tmp_path / "x.keras").tiling == Tiling(96, 0.25)
    config = model.get_config()
    del config["tiling"]  # a file of version 0.1.0
    assert type(model).from_config(config).tiling == WHOLE_IMAGES


def test_the_verbs(model, call, tmp_path, capsys):
    from keras_retinanet.data.demo.demo import write_demo_dataset

    model = type(model).from_config(
        {**model.get_config(), "class_names": ["coin", "screw", "gear", "leaf", "donut"]}
    )
    model.save(tmp_path / "x.keras")
    data = write_demo_dataset(tmp_path / "set", num_train=1, num_val=3)
    results = {}
    for name, options in {
        "own": [],
        "same": ["--tile", 96, "--tile-overlap", 0.25],
        "none": ["--tile", 0],
        "other": ["--tile-overlap", 0.5],
    }.items():
        out = tmp_path / name
        assert (
            call("evaluate", tmp_path / "x.keras", "--data", data, "--output", out, *options) == 0
        )
        results[name] = (out / "detections.json").read_text()
        page = (out / "report.html").read_text(encoding="utf-8")
        assert ("96 px, overlap 0.25" in page) == (name in ("own", "same"))
    assert results["own"] == results["same"]
    assert len({results[name] for name in ("own", "none", "other")}) == 3
    # Shards are those of the same tiles, and give the same evaluation.
    for shard in range(2):
        parts = ("--output", tmp_path / "parts", "--shard", f"{shard}/2")
        assert call("evaluate", tmp_path / "x.keras", "--data", data, *parts) == 0
    merge = ("merge", tmp_path / "parts", "--data", data, "--output", tmp_path / "merged")
    assert call(*merge) == 0
    assert (tmp_path / "merged" / "detections.json").read_text() == results["own"]
    capsys.readouterr()
    assert call("predict", tmp_path / "x.keras", data.parent, "--output", "x", "--tile", 20) == 2
    assert "32 pixels or more, got 20" in capsys.readouterr().err


def test_overlap_alone_needs_tiles(model, call, tmp_path, capsys):
    config = {**model.get_config(), "tiling": dataclasses.asdict(WHOLE_IMAGES)}
    type(model).from_config(config).save(tmp_path / "x.keras")
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    given = ("predict", tmp_path / "x.keras", tmp_path / "a.png", "--output", tmp_path / "out")
    assert call(*given, "--tile-overlap", 0.3) == 2
    assert "--tile-overlap needs --tile" in capsys.readouterr().err


_PEAK = """
import resource, sys
import numpy as np
from keras_retinanet.detection.tiled_detector import TiledDetector
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.tiling import WHOLE_IMAGES, Tiling

class Nothing:
    class_names, inference, tiling = ("a",), InferenceSettings(), WHOLE_IMAGES
    def prepare(self): pass
    def detect_pixels(self, images):
        boxes = np.tile([5.0, 5.0, 9.0, 9.0], (100, 1))
        stacked = np.stack(images)
        return [{"boxes": boxes, "scores": np.full(100, 0.5), "classes": np.zeros(100, int)}
                for _ in stacked]

detector = TiledDetector(Nothing(), Tiling(256))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
detector.detect_pixels([np.zeros((600, 600, 3), np.uint8)])
side = int(sys.argv[1])
image = np.ones((side, side, 3), np.uint8)
before = peak()
detector.detect_pixels([image])
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_image():
    """Beyond its pixels: 48 MB of them, and 432 MB."""
    grown = []
    for side in (4000, 12_000):
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, str(side)],
            capture_output=True, text=True, check=True, env={**os.environ},
        )  # fmt: skip
        grown.append(int(done.stdout) / 2**20)
    assert max(grown) < 60, grown


def test_ap_of_a_large_image_is_that_of_its_tiles(tmp_path):
    """4000 x 3000 with objects of 30 px, by a detector of pixels: nothing is lost by cutting."""
    from keras_retinanet.data.dataset import DetectionDataset

    boxes = separate_boxes(400, 30, 3000, 4000)
    path = str(tmp_path / "a.png")
    Image.fromarray(scene(3000, 4000, boxes)).save(path, compress_level=1)
    corners = np.array(boxes, np.float32)
    dataset = DetectionDataset(
        image_paths=[path],
        image_ids=[1],
        heights=np.array([3000], np.int32),
        widths=np.array([4000], np.int32),
        row_splits=np.array([0, len(boxes)]),
        boxes=corners,
        labels=np.arange(1, len(boxes) + 1, dtype=np.int32) % 2,
        is_ignored=np.zeros(len(boxes), bool),
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
        class_names=("even", "odd"),
        category_ids=(1, 2),
    )
    detector = TiledDetector(Coloured(), Tiling(800, 0.2))
    metrics, results = evaluate(detector, dataset, max_detections=400)
    assert len(results) == 400 and metrics["AP"] == pytest.approx(1.0)
