"""Prediction on files: JSON, pictures, and files that cannot be used."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.data.pipeline.batches import network_inputs
from keras_retinanet.detection.predict import predict
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.saving import copy_for_inference

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture(scope="module")
def model(make_tiny):
    return make_tiny(
        channels=8,
        prior=0.3,
        inference=InferenceSettings(max_detections=10),
        input_policy=InputPolicy("square", 64),
    )


def write_image(path, width=80, height=60, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def run(model, images, output, min_score=0.1):
    summary = predict(model, images, output, min_score=min_score)
    return summary, json.loads((output / "predictions.json").read_text())["images"]


def test_folder_with_subfolders_and_odd_names(model, tmp_path):
    folder = tmp_path / "in"
    files = [
        write_image(folder / "a b%20.jpg"),
        write_image(folder / "a b%20.png"),
        write_image(folder / "sub" / "ü.PNG", 50, 90),
    ]
    summary, entries = run(model, folder, tmp_path / "out")
    assert summary.num_images == 3
    assert [e["file"] for e in entries] == [str(f) for f in sorted(files)]
    pictures = tmp_path / "out" / "images"
    assert {str(p.relative_to(pictures)) for p in pictures.rglob("*.jpg")} == {
        "a b%20.jpg.jpg",
        "a b%20.png.jpg",
        "sub/ü.PNG.jpg",
    }
    for entry in entries:
        assert len(entry["detections"]) == 10
        for detection in entry["detections"]:
            x1, y1, x2, y2 = detection["box"]
            assert 0 <= x1 <= x2 <= entry["width"] and 0 <= y1 <= y2 <= entry["height"]
            assert detection["class"] in model.class_names
            assert 0 < detection["score"] <= 1


def test_single_image(model, tmp_path):
    file = write_image(tmp_path / "x.jpg")
    summary, entries = run(model, file, tmp_path / "out")
    assert summary.num_images == len(entries) == 1
    with Image.open(tmp_path / "out" / "images" / "x.jpg.jpg") as picture:
        assert picture.size == (80, 60)


def test_rotated_image_is_shown_upright(model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = write_image(tmp_path / "x.jpg", 80, 60, exif=exif)
    _, entries = run(model, file, tmp_path / "out")
    assert (entries[0]["width"], entries[0]["height"]) == (60, 80)
    with Image.open(tmp_path / "out" / "images" / "x.jpg.jpg") as picture:
        assert picture.size == (60, 80)


def _jpeg_behind_a_profile(path, exif):
    write_image(path, exif=exif, quality=95)
    content = path.read_bytes()
    at = content.index(b"\xff\xe1")  # EXIF; behind it what would have been found at once
    profile = b"".join(b"\xff\xe2\xea\x62" + bytes(60_000) for _ in range(2))
    path.write_bytes(content[:at] + profile + content[at:])


def _jpeg_with_xmp(path, exif):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    write_image(path, xmp=xmp, quality=95)


@pytest.mark.parametrize(
    ("name", "write", "size"),
    [
        ("x.png", lambda path, exif: write_image(path, exif=exif), (60, 80)),
        ("x.jpg", _jpeg_behind_a_profile, (60, 80)),
        ("x.jpg", _jpeg_with_xmp, (80, 60)),
    ],
    ids=["png", "behind a profile", "xmp alone"],
)
def test_boxes_are_drawn_on_the_pixels_that_were_looked_at(model, tmp_path, name, write, size):
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / name, exif)
    file = tmp_path / name
    _, entries = run(model, file, tmp_path / "out", min_score=2)  # no box hides a pixel
    assert (entries[0]["width"], entries[0]["height"]) == size
    (seen,) = network_inputs(
        [str(file)], np.array(size[1:]), np.array(size[:1]), InputPolicy("stretch", 64)
    ).as_numpy_iterator()
    with Image.open(tmp_path / "out" / "images" / f"{name}.jpg") as picture:
        assert picture.size == size
        small = tf.image.resize(np.asarray(picture), (64, 64)).numpy()
    # A JPEG blurs the colours of noise; but turned otherwise, noise has nothing in common.
    assert np.corrcoef(small.ravel(), seen["image"].ravel().astype(float))[0, 1] > 0.5


def test_bad_files_are_counted_and_the_rest_is_done(model, tmp_path):
    folder = tmp_path / "in"
    write_image(folder / "good.jpg")
    (folder / "bad.jpg").write_bytes(b"text")
    (folder / "empty.png").touch()
    summary, entries = run(model, folder, tmp_path / "out")
    assert summary.num_images == len(entries) == 1
    assert sorted(f.where.rsplit("/")[-1] for f in summary.findings) == ["bad.jpg", "empty.png"]


@pytest.mark.parametrize("content", [None, "empty folder", "no image"])
def test_nothing_to_do_is_an_error(model, tmp_path, content):
    folder = tmp_path / "in"
    if content:
        folder.mkdir()
    if content == "no image":
        (folder / "bad.jpg").write_bytes(b"text")
    with pytest.raises(DataError, match=str(folder)):
        predict(model, folder, tmp_path / "out", min_score=0.1)


@pytest.mark.parametrize("kind", ["tif", "TIFF", "avif"])
def test_kinds_that_pillow_reads_are_converted(model, tmp_path, kind):
    folder = tmp_path / "in"
    write_image(folder / "a.png", 70, 50)
    options = {"format": "AVIF", "quality": 100} if kind == "avif" else {"format": "TIFF"}
    write_image(folder / f"a.{kind}", 70, 50, **options)
    summary, entries = run(model, folder, tmp_path / "out")
    assert summary.num_images == 2 and not summary.findings
    assert {entry["file"] for entry in entries} == {str(p) for p in folder.iterdir()}
    assert all((entry["height"], entry["width"]) == (50, 70) for entry in entries)
    assert (tmp_path / "out" / "images" / f"a.{kind}.jpg").is_file()
    if kind != "avif":  # the same pixels
        assert entries[0]["detections"] == entries[1]["detections"]


def test_heic_says_what_it_needs(model, tmp_path):
    write_image(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    summary, _ = run(model, tmp_path / "in", tmp_path / "out")
    ((fault, where),) = [(f.problem, f.where) for f in summary.findings]
    assert where.endswith("b.HEIC")
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        assert "pip install pillow-heif" in fault


@pytest.mark.parametrize("name", ["b.heic", "b.jpg"])
def test_heic_is_converted(model, tmp_path, name):
    pillow_heif = pytest.importorskip("pillow_heif")
    folder = tmp_path / "in"
    write_image(folder / "a.png", 70, 50)
    with Image.open(folder / "a.png") as image:
        heic = pillow_heif.from_pillow(image)
    heic.save(folder / "b.heic", quality=-1)  # lossless
    (folder / "b.heic").rename(folder / name)
    summary, entries = run(model, folder, tmp_path / "out")
    assert not summary.findings
    assert [(entry["height"], entry["width"]) for entry in entries] == [(50, 70)] * 2


def test_a_kind_is_told_by_the_content_not_by_the_name(model, tmp_path):
    folder = tmp_path / "in"
    write_image(folder / "a.png", 70, 50)
    write_image(folder / "a.tif", 70, 50, format="TIFF")
    (folder / "a.tif").rename(folder / "b.jpg")
    summary, entries = run(model, folder, tmp_path / "out")
    assert not summary.findings
    assert entries[0]["detections"] == entries[1]["detections"]


def test_pages_behind_the_first_are_told(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    pages = [Image.new("RGB", (70, 50), color) for color in ("red", "green", "blue")]
    pages[0].save(folder / "a.tif", save_all=True, append_images=pages[1:])
    summary, entries = run(model, folder, tmp_path / "out")
    assert len(entries) == 1
    ((problem, action),) = [(f.problem, f.action) for f in summary.findings]
    assert (problem, action) == ("image of 3 pages or frames", "the first is used")


def test_every_file_that_is_passed_over_is_named(model, tmp_path):
    folder = tmp_path / "in"
    write_image(folder / "a.png")
    write_image(folder / "b.webp")
    for name in ("notes.txt", "sub/clip.mp4", ".hidden/c.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "broken.tif").write_bytes(b"II*\0")
    summary, entries = run(model, folder, tmp_path / "out")
    assert len(entries) == 2
    passed = {f.where: f.action for f in summary.findings}
    assert passed == {
        str(folder / "notes.txt"): "file passed over",
        str(folder / "sub" / "clip.mp4"): "file passed over",
        str(folder / "broken.tif"): "image skipped",
    }


def test_passed_over_files_are_in_the_json(model, tmp_path):
    write_image(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "notes.txt").touch()
    run(model, tmp_path / "in", tmp_path / "out")
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert written["passed_over"] == [
        {
            "file": str(tmp_path / "in" / "notes.txt"),
            "problem": "file that is no image by its name",
            "action": "file passed over",
        }
    ]


def test_images_of_one_name_from_several_places_stay_apart(model, tmp_path):
    files = [write_image(tmp_path / name / "a.png") for name in ("x", "y", "z")]
    given = [files[0], tmp_path / "y", str(tmp_path / "z*" / "*.png"), files[0]]
    summary = predict(model, given, tmp_path / "out", min_score=0.1)
    assert summary.num_images == 3
    pictures = tmp_path / "out" / "images"
    found = {str(path.relative_to(pictures)) for path in pictures.rglob("*.jpg")}
    assert found == {"a.png.jpg", "2/a.png.jpg", "z/a.png.jpg"}


def test_thresholds_of_the_model_are_the_default(model, tmp_path):
    file = write_image(tmp_path / "a.png")
    _, (everything,) = run(model, file, tmp_path / "all", min_score=0)
    names = list(model.class_names)
    limits = [1.0] * len(names)
    first = everything["detections"][0]
    limits[names.index(first["class"])] = first["score"] - 1e-6  # files round scores
    inference = dataclasses.replace(model.inference, thresholds=tuple(limits))
    predict(copy_for_inference(model, inference=inference), file, tmp_path / "own")
    (own,) = json.loads((tmp_path / "own" / "predictions.json").read_text())["images"]
    assert own["detections"] == [first]
    predict(model, file, tmp_path / "half")
    (half,) = json.loads((tmp_path / "half" / "predictions.json").read_text())["images"]
    assert half["detections"] == [d for d in everything["detections"] if d["score"] >= 0.5]


def test_scores_classes_and_all(model, tmp_path):
    file = write_image(tmp_path / "a.png")
    _, (everything,) = run(model, file, tmp_path / "all", min_score=0)
    scores = [d["score"] for d in everything["detections"]]
    limit = (scores[4] + scores[5]) / 2
    _, (above,) = run(model, file, tmp_path / "above", min_score=limit)
    assert above["detections"] == everything["detections"][:5]
    predict(model, file, tmp_path / "kept", min_score=limit, keep_all=True)
    kept = json.loads((tmp_path / "kept" / "predictions.json").read_text())["images"][0]
    assert kept == everything
    pictures = [tmp_path / name / "images" / "a.png.jpg" for name in ("above", "kept", "all")]
    above, kept, everything_drawn = (np.asarray(Image.open(path)) for path in pictures)
    assert (above == kept).all() and (above != everything_drawn).any()
    name = everything["detections"][0]["class"]
    predict(model, file, tmp_path / "one", min_score=0, classes=[name])
    one = json.loads((tmp_path / "one" / "predictions.json").read_text())["images"][0]
    assert one["detections"] == [d for d in everything["detections"] if d["class"] == name]
    with pytest.raises(ConfigError, match="no class 'cow': it knows 0, 1, 2"):
        predict(model, file, tmp_path / "none", classes=["cow"])
