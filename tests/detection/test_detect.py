"""`model.detect` finds in images of any kind what evaluation finds in the same files."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.data.images.inspection import inspect_images
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.errors import DataError
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.losses import DetectionLoss

pytestmark = pytest.mark.usefixtures("small_resnet18")
# height, width: two orientations, and two images on one canvas.
SIZES = ((50, 80), (90, 60), (40, 64), (64, 64))


@pytest.fixture(scope="module")
def model(make_tiny, small_resnet18):
    model = make_tiny(
        channels=8,
        class_names=("cat", "dog"),
        prior=0.3,
        input_policy=InputPolicy(size=64, max_size=96),
        inference=InferenceSettings(max_detections=10),
    )
    kernel = model.get_layer("class_head_predictions").kernel
    kernel.assign(np.random.default_rng(0).normal(0, 0.3, kernel.shape))
    return model


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


@pytest.fixture(scope="module")
def files(arrays, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{i}.png" for i in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(array).save(path)
    return paths


@pytest.fixture(scope="module")
def expected(model, files):
    """What evaluation's walk over the files finds."""
    headers = inspect_images([str(file) for file in files])
    heights, widths = np.array([(h.height, h.width) for h in headers], np.int32).T
    walk = KerasDetector(model).detect_files([str(f) for f in files], heights, widths)
    found = dict(walk)
    return [found[i] for i in range(len(files))]


def assert_equal(found, expected):
    assert len(found) == len(expected["scores"]) > 0
    np.testing.assert_array_equal(found.boxes, expected["boxes"].astype(np.float32))
    np.testing.assert_array_equal(found.scores, expected["scores"])
    np.testing.assert_array_equal(found.labels, expected["classes"])


def same(a, b):
    return all(
        np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True)
    )


@pytest.mark.parametrize("kind", ["path", "str", "array", "pil", "mixed", "tuple"])
def test_all_kinds_give_what_evaluation_finds(model, files, arrays, expected, kind):
    images = {
        "path": lambda: files,
        "str": lambda: [str(file) for file in files],
        "array": lambda: arrays,
        "pil": lambda: [Image.fromarray(array) for array in arrays],
        "mixed": lambda: [files[0], arrays[1], Image.open(files[2]), str(files[3])],
        "tuple": lambda: tuple(arrays),
    }[kind]()
    found = model.detect(images)
    assert isinstance(found, list)
    for ours, theirs in zip(found, expected, strict=True):
        assert_equal(ours, theirs)


def test_types_and_names(model, arrays):
    found = model.detect(arrays[0])
    assert (found.boxes.dtype, found.scores.dtype) == (np.float32, np.float32)
    assert found.labels.dtype == np.int32
    assert found.boxes.shape == (len(found), 4) == (10, 4)
    assert found.names == tuple(model.class_names[label] for label in found.labels)
    assert (np.diff(found.scores) <= 0).all()
    height, width = SIZES[0]
    assert (found.boxes >= 0).all() and (found.boxes <= [width, height] * 2).all()


def test_one_image_gives_one_result_and_a_batch_a_list(model, arrays):
    one = model.detect(arrays[3])
    assert same(model.detect([arrays[3]])[0], one)
    batch = model.detect(np.stack([arrays[3], arrays[3][::-1]]), batch_size=1)
    assert len(batch) == 2 and same(batch[0], one) and not same(batch[1], one)
    assert model.detect([]) == []


def test_grey_and_alpha(model, arrays):
    grey = arrays[0][..., 0]
    found = model.detect(np.repeat(grey[..., None], 3, axis=2))
    for image in (grey, grey[..., None], Image.fromarray(grey)):
        assert same(model.detect(image), found)
    clear = np.dstack([arrays[0], np.zeros(SIZES[0], np.uint8)])
    for image in (clear, Image.fromarray(clear)):
        assert same(model.detect(image), model.detect(arrays[0]))


def test_16_bit_and_palette_images_are_read_as_their_files_are(model, arrays, tmp_path):
    deep = Image.fromarray(arrays[0][..., 0].astype(np.uint16) * 200 + 13)
    few = Image.fromarray(arrays[0]).quantize(16)
    for number, image in enumerate((deep, few)):
        image.save(tmp_path / f"{number}.png")
        assert same(model.detect(image), model.detect(tmp_path / f"{number}.png"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed_alike(model, arrays, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(arrays[0]).save(path, exif=exif, quality=100)
    opened = Image.open(path)
    # By hand, as EXIF 2.3 describes where row 0 and column 0 of the upright image are.
    pixels = np.asarray(opened)
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels[::-1].transpose(1, 0, 2),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: pixels[:, ::-1].transpose(1, 0, 2),
    }[orientation]
    expected = model.detect(np.ascontiguousarray(upright))
    assert same(model.detect(opened), expected)
    found = model.detect(path)  # TensorFlow's decoder, which may round otherwise
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.02)


def test_min_score_leaves_the_weaker_out(model, arrays):
    everything = model.detect(arrays[0])
    limit = float(everything.scores[3])
    some = model.detect(arrays[0], min_score=limit)
    assert len(some) == int((everything.scores >= limit).sum()) < len(everything)
    np.testing.assert_array_equal(some.boxes, everything.boxes[: len(some)])
    assert len(model.detect(arrays[0], min_score=1.0)) == 0


def test_other_settings_of_the_model_count_at_once(model, arrays, monkeypatch):
    assert len(model.detect(arrays[0])) == 10
    kept = model._detector
    model.detect(arrays[1])
    assert model._detector is kept  # one graph for all calls
    few = dataclasses.replace(model.inference, max_detections=3)
    monkeypatch.setattr(model, "inference", few)
    assert len(model.detect(arrays[0])) == 3


def test_a_model_that_has_detected_still_saves_and_trains(model, arrays, make_batch, tmp_path):
    before = model.detect(arrays[0])
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert same(loaded.detect(arrays[0]), before)
    loaded.compile("sgd", loss=DetectionLoss(), run_eagerly=True)
    loaded.train_on_batch(*make_batch(loaded, (1,)))
    assert not same(loaded.detect(arrays[0]), before)  # the new weights are used


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), "must hold uint8 values 0 to 255, got float32"),
        (np.zeros((8, 8, 3), bool), "got bool"),
        (np.zeros((8, 8, 2), np.uint8), r"\[H, W, 4\], got \(8, 8, 2\)"),
        (np.zeros((0, 8, 3), np.uint8), r"got \(0, 8, 3\)"),
        (np.zeros(8, np.uint8), r"got \(8,\)"),
        (Image.new("F", (8, 8)), "mode 'F' have no range"),
        (Image.new("I", (8, 8)), "mode 'I' have no range"),
        (3, "must be a path, a NumPy array or a PIL image, got int"),
        (None, "got NoneType"),
        ([[1, 2]], "got list"),
    ],
)
def test_other_things_are_refused_in_one_line(model, image, message):
    with pytest.raises(ValueError, match=message) as error:
        model.detect(image)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"min_score": -0.1}, {"min_score": 7}, {"batch_size": 0}])
def test_options_out_of_range_are_refused(model, arrays, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be"):
        model.detect(arrays[0], **options)


def test_bad_files_are_named(model, arrays, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png: not an image"):
        model.detect([arrays[0], tmp_path / "text.png"])
    with pytest.raises(DataError, match=r"nowhere\.jpg: missing image file"):
        model.detect(str(Path(tmp_path) / "nowhere.jpg"))
    with pytest.raises(DataError, match="is a folder"):
        model.detect(tmp_path)
