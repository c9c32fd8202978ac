"""The SavedModel: its signatures, its layout, and what is refused."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.errors import DataError, WeightsError
from keras_retinanet.evaluation import detect_files
from keras_retinanet.export import saved_model as export_module
from keras_retinanet.export.export import export_saved_model
from keras_retinanet.export.verify import FLOAT32
from keras_retinanet.input_policy import InputPolicy

pytestmark = pytest.mark.usefixtures("small_resnet18")

OUTPUTS = {"detection_boxes", "detection_scores", "detection_classes", "num_detections"}
NAMES = ("cat", "dog", "élan")


def encoded(height, width, seed=0, kind="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module", params=["shorter_side", "square"])
def exported(request, make_tiny, tmp_path_factory, small_resnet18):
    # With a high prior an untrained model finds something everywhere.
    model = make_tiny(
        class_names=NAMES,
        prior=0.3,
        channels=8,
        input_policy=InputPolicy(request.param, size=64, max_size=96),
        max_detections=20,
    )
    folder = tmp_path_factory.mktemp("export")
    image = folder.parent / f"{request.param}.png"
    image.write_bytes(encoded(80, 120))
    version, parity = export_saved_model(model, folder, verify_images=[str(image)])
    return model, version, parity, tf.saved_model.load(str(version)).signatures


def test_parity_was_measured_on_detections(exported):
    parity = exported[2]
    assert parity.num_detections == 20
    assert not parity.is_synthetic
    parity.refuse_unless_within(FLOAT32)


def test_layout_is_tensorflow_servings(exported):
    version = exported[1]
    assert version.name == "1"
    assert (version / "saved_model.pb").is_file()
    assert (version / "assets" / "labels.txt").read_text("utf-8").splitlines() == list(NAMES)
    assert [p.name for p in version.parent.iterdir()] == ["1"]


def test_weights_are_stored_once(exported):
    model, version, _, _ = exported
    stored = sum(p.stat().st_size for p in (version / "variables").iterdir())
    weights = sum(w.nbytes for w in model.get_weights())
    assert weights <= stored <= 1.05 * weights


def test_signatures_and_outputs(exported):
    signatures = exported[3]
    assert set(signatures) == {"serving_default", "serve_bytes", "serve_tf_example"}
    for signature in signatures.values():
        assert set(signature.structured_outputs) == OUTPUTS
    inputs = signatures["serving_default"].structured_input_signature[1]
    assert inputs["input_tensor"].dtype == tf.uint8
    assert inputs["input_tensor"].shape.as_list() == [None, None, None, 3]


@pytest.mark.parametrize(("count", "height", "width"), [(1, 64, 64), (3, 50, 91), (2, 200, 40)])
def test_any_size_and_batch(exported, count, height, width):
    images = tf.random.stateless_uniform((count, height, width, 3), (0, 1), 0, 256, tf.int32)
    found = exported[3]["serving_default"](input_tensor=tf.cast(images, tf.uint8))
    boxes = found["detection_boxes"].numpy()
    assert boxes.shape == (count, 20, 4)
    assert np.isfinite(boxes).all() and boxes.min() >= 0 and boxes.max() <= 1
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    scores = found["detection_scores"].numpy()
    assert (np.diff(scores) <= 0).all() and scores[:, 0].min() > 0.05


def test_boxes_are_those_of_the_keras_model(exported, tmp_path):
    model, _, _, signatures = exported
    path = tmp_path / "a.png"
    path.write_bytes(encoded(70, 110, seed=3))
    ((_, expected),) = detect_files(model, [str(path)], np.array([70]), np.array([110]))
    found = signatures["serve_bytes"](image_bytes=tf.constant([path.read_bytes()]))
    assert found["num_detections"].numpy() == [len(expected["scores"])]
    ymin, xmin, ymax, xmax = np.moveaxis(found["detection_boxes"].numpy()[0], -1, 0)
    boxes = np.stack([xmin * 110, ymin * 70, xmax * 110, ymax * 70], axis=1)
    np.testing.assert_allclose(boxes, expected["boxes"], atol=0.01)
    np.testing.assert_allclose(found["detection_scores"][0], expected["scores"], atol=1e-5)
    np.testing.assert_array_equal(found["detection_classes"][0], expected["classes"])


def test_mixed_sizes_in_one_request_are_as_one_by_one(exported):
    serve = exported[3]["serve_bytes"]
    files = [encoded(60, 100), encoded(120, 64, 1), encoded(64, 64, 2), encoded(96, 72, 3, "JPEG")]
    together = serve(image_bytes=tf.constant(files))
    for i, file in enumerate(files):
        alone = serve(image_bytes=tf.constant([file]))
        np.testing.assert_array_equal(
            together["detection_classes"][i], alone["detection_classes"][0]
        )
        for name, tolerance in (("detection_boxes", 1e-5), ("detection_scores", 1e-6)):
            np.testing.assert_allclose(together[name][i], alone[name][0], atol=tolerance)


def test_bytes_tensor_and_example_agree(exported):
    signatures = exported[3]
    file = encoded(64, 96)
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))
    example = tf.train.Example(features=tf.train.Features(feature={"image/encoded": feature}))
    pixels = np.asarray(Image.open(io.BytesIO(file)))[None]
    results = [
        signatures["serving_default"](input_tensor=tf.constant(pixels)),
        signatures["serve_bytes"](image_bytes=tf.constant([file])),
        signatures["serve_tf_example"](examples=tf.constant([example.SerializeToString()])),
    ]
    for other in results[1:]:
        for name in OUTPUTS:
            np.testing.assert_allclose(results[0][name], other[name], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("serving_default", {"input_tensor": np.zeros((1, 64, 64, 3), np.float32)}),
        ("serving_default", {"input_tensor": np.zeros((64, 64, 3), np.uint8)}),
        ("serving_default", {"input_tensor": np.zeros((1, 64, 64, 4), np.uint8)}),
        ("serve_bytes", {"image_bytes": np.zeros(1, np.uint8)}),
    ],
)
def test_wrong_dtype_or_shape_names_the_signature(exported, name, request_):
    with pytest.raises(tf.errors.InvalidArgumentError, match=name):
        exported[3][name](**{key: tf.constant(value) for key, value in request_.items()})


def test_versions_count_up(make_tiny, tmp_path):
    model = make_tiny(channels=8, input_policy=InputPolicy("square", 64))
    (tmp_path / "9").mkdir()
    version, parity = export_saved_model(model, tmp_path)
    assert version.name == "10"
    assert parity.is_synthetic
    assert sorted(p.name for p in tmp_path.iterdir()) == ["10", "9"]
    assert {p.name for p in version.iterdir()} == {
        "assets",
        "fingerprint.pb",
        "manifest.json",
        "saved_model.pb",
        "variables",
    }


def test_verification_notices_other_weights(make_tiny, tmp_path, monkeypatch):
    write = export_module._write

    def write_other(model, path):
        other = make_tiny(channels=8, prior=0.3)
        other.get_layer("box_head_predictions").bias.assign_add([0.1] * 36)
        write(other, path)

    monkeypatch.setattr(export_module, "_write", write_other)
    with pytest.raises(WeightsError, match="something else"):
        export_saved_model(make_tiny(channels=8, prior=0.3), tmp_path)


def test_broken_weights_are_refused(make_tiny, tmp_path):
    model = make_tiny(channels=8)
    model.get_layer("fpn_p6").bias.assign([np.nan] * 8)
    with pytest.raises(WeightsError, match="fpn_p6"):
        export_saved_model(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unusable_verification_image_is_named(make_tiny, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png"):
        export_saved_model(make_tiny(channels=8), tmp_path / "out", verify_images=[str(bad)])
    assert list((tmp_path / "out").iterdir()) == []
