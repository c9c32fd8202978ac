"""The SavedModel: its signatures, its layout, its errors."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.detection.runtimes.keras_model import detect_files
from keras_retinanet.detection.runtimes.saved_model_runtime import open_signatures
from keras_retinanet.errors import ConfigError, WeightsError
from keras_retinanet.export.export import export_model
from keras_retinanet.export.saved_model.request_batches import MOST_AT_ONCE, by_canvas
from keras_retinanet.export.saved_model.saved_model_exporter import (
    SavedModelExporter,
    refuse_variables,
    signature_names,
)
from keras_retinanet.export.saved_model.signatures import raw_signature
from keras_retinanet.export.verify import FLOAT32
from keras_retinanet.geometry.input_policy import InputPolicy

pytestmark = pytest.mark.usefixtures("small_resnet18")

OUTPUTS = {"detection_boxes", "detection_scores", "detection_classes", "num_detections"}


def request_of(name, files):
    if name == "serve_bytes":
        return {"image_bytes": tf.constant(files)}

    def example(file):
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))
        features = tf.train.Features(feature={"image/encoded": feature})
        return tf.train.Example(features=features).SerializeToString()

    return {"examples": tf.constant([example(file) for file in files])}


def test_parity_was_measured_on_detections(exported):
    assert exported.parity.num_detections == 20
    assert not exported.parity.is_synthetic
    exported.parity.refuse_unless_within(FLOAT32)


def test_layout_is_tensorflow_servings(exported):
    version = exported.version
    assert version.name == "1"
    assert (version / "saved_model.pb").is_file()
    labels = (version / "assets" / "labels.txt").read_text("utf-8").splitlines()
    assert labels == list(exported.model.class_names)
    assert [p.name for p in version.parent.iterdir()] == ["1"]


def test_weights_are_constants_and_stored_once(exported):
    model, version = exported.model, exported.version
    weights = json.loads((version / "manifest.json").read_text())["weights_bytes"]
    num_normalizers = sum("_bn" in w.path for w in model.weights)
    assert num_normalizers > 0
    # Each BatchNormalization became the bias of its convolution.
    folded = sum(w.numpy().nbytes for w in model.weights if "_bn" not in w.path or "beta" in w.path)
    assert weights == folded
    graph = (version / "saved_model.pb").stat().st_size
    variables = sum(p.stat().st_size for p in (version / "variables").iterdir())
    assert weights <= graph <= weights + 700_000
    assert variables < 1000
    refuse_variables(version)


def test_the_graph_knows_the_size_where_there_is_one(exported):
    """TensorFlow adds within a convolution only what it knows to be of the same shape."""
    saved = saved_model_pb2.SavedModel.FromString(
        (exported.version / "saved_model.pb").read_bytes()
    )
    networks = [
        function
        for function in saved.meta_graphs[0].graph_def.library.function
        if any(node.op == "Conv2D" for node in function.node_def)
    ]
    assert len(networks) == 1  # all signatures share it
    (shape,) = networks[0].arg_attr[0].attr["_output_shapes"].list.shape
    side = 64 if exported.model.input_policy.has_one_canvas else -1
    assert [dim.size for dim in shape.dim] == [-1, side, side, 3]


def test_variables_are_noticed(tmp_path):
    module = tf.Module()
    module.v = tf.Variable(1.0)
    serve = tf.function(lambda x: x * module.v, input_signature=[tf.TensorSpec((), tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=serve)
    with pytest.raises(WeightsError, match="has the variable"):
        refuse_variables(tmp_path / "1")


def test_signatures_and_outputs(exported):
    signatures = exported.signatures
    assert set(signatures) == {
        *("serving_default", "serve_bytes", "serve_tf_example", "serve_model_garden"),
    }
    for name, signature in signatures.items():
        of_files = name in ("serve_bytes", "serve_tf_example")
        assert set(signature.structured_outputs) == OUTPUTS | ({"is_valid"} if of_files else set())
    inputs = signatures["serving_default"].structured_input_signature[1]
    assert inputs["input_tensor"].dtype == tf.uint8
    assert inputs["input_tensor"].shape.as_list() == [None, None, None, 3]


@pytest.mark.parametrize(("count", "height", "width"), [(1, 64, 64), (3, 50, 91), (2, 200, 40)])
def test_any_size_and_batch(exported, count, height, width):
    images = tf.random.stateless_uniform((count, height, width, 3), (0, 1), 0, 256, tf.int32)
    found = exported.signatures["serving_default"](input_tensor=tf.cast(images, tf.uint8))
    boxes = found["detection_boxes"].numpy()
    assert boxes.shape == (count, 20, 4)
    assert np.isfinite(boxes).all() and boxes.min() >= 0 and boxes.max() <= 1
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    scores = found["detection_scores"].numpy()
    assert (np.diff(scores) <= 0).all() and scores[:, 0].min() > 0.05


def test_boxes_are_those_of_the_keras_model(exported, encoded, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(70, 110, seed=3))
    ((_, expected),) = detect_files(exported.model, [str(path)], np.array([70]), np.array([110]))
    found = exported.signatures["serve_bytes"](image_bytes=tf.constant([path.read_bytes()]))
    assert found["num_detections"].numpy() == [len(expected["scores"])]
    ymin, xmin, ymax, xmax = np.moveaxis(found["detection_boxes"].numpy()[0], -1, 0)
    boxes = np.stack([xmin * 110, ymin * 70, xmax * 110, ymax * 70], axis=1)
    np.testing.assert_allclose(boxes, expected["boxes"], atol=0.01)
    np.testing.assert_allclose(found["detection_scores"][0], expected["scores"], atol=1e-5)
    np.testing.assert_array_equal(found["detection_classes"][0], expected["classes"])


def test_mixed_sizes_in_one_request_are_as_one_by_one(exported, encoded):
    serve = exported.signatures["serve_bytes"]
    files = [encoded(60, 100), encoded(120, 64, 1), encoded(64, 64, 2), encoded(96, 72, 3, "JPEG")]
    together = serve(image_bytes=tf.constant(files))
    for i, file in enumerate(files):
        alone = serve(image_bytes=tf.constant([file]))
        np.testing.assert_array_equal(
            together["detection_classes"][i], alone["detection_classes"][0]
        )
        for name, tolerance in (("detection_boxes", 1e-5), ("detection_scores", 1e-6)):
            np.testing.assert_allclose(together[name][i], alone[name][0], atol=tolerance)


@pytest.mark.parametrize("resize", ["shorter_side", "square"])
def test_images_of_a_request_do_not_change_each_other(export_once, encoded, resize, small_resnet18):
    serve = export_once(resize).signatures["serve_bytes"]
    # Of the first canvas more than run at once, some with padding; a broken file among them.
    sizes = [
        (64, 96),
        (60, 90),
        (96, 64),
        (64, 96),
        (61, 96),
        (64, 64),
        (96, 64),
        (128, 192),
        (64, 96),
    ]
    assert len(sizes) > 2 * MOST_AT_ONCE
    files = [encoded(*size, seed) for seed, size in enumerate(sizes)]
    files.insert(3, b"no image")
    together = serve(image_bytes=tf.constant(files))
    assert together["is_valid"].numpy().tolist() == [i != 3 for i in range(len(files))]
    assert together["num_detections"].numpy()[3] == 0
    for i, file in enumerate(files):
        alone = serve(image_bytes=tf.constant([file]))
        for name in ("detection_classes", "num_detections", "is_valid"):
            np.testing.assert_array_equal(together[name][i], alone[name][0])
        # Convolutions of several images at once sum in another order.
        for name, tolerance in (("detection_boxes", 1e-5), ("detection_scores", 1e-6)):
            np.testing.assert_allclose(together[name][i], alone[name][0], atol=tolerance)


def test_no_image_at_all(exported):
    found = exported.signatures["serve_bytes"](image_bytes=tf.zeros((0,), tf.string))
    assert found["detection_boxes"].shape == (0, 20, 4)
    assert found["is_valid"].shape == (0,)


class TestByCanvas:
    def test_batches_are_of_one_canvas_and_not_too_large(self):
        canvases = [(2, 3), (4, 3), (2, 3), (2, 3), (2, 3), (4, 3), (2, 3), (2, 2)]
        seen = []

        @tf.function
        def run():
            inputs = tf.TensorArray(tf.float32, len(canvases), infer_shape=False)
            for i, canvas in enumerate(canvases):
                inputs = inputs.write(i, tf.fill((*canvas, 3), float(i)))

            def detect(batch, sizes):
                tf.py_function(lambda b: seen.append(tuple(b.shape)), [batch], [])
                return {"value": batch[:, 0, 0, 0], "size": sizes}

            sizes = tf.constant([(i, 10 * i) for i in range(len(canvases))])
            signature = {"value": tf.TensorSpec(()), "size": tf.TensorSpec((2,), tf.int32)}
            return by_canvas(inputs, sizes, tf.constant(canvases), detect, signature)

        found = run()
        np.testing.assert_array_equal(found["value"], range(len(canvases)))
        np.testing.assert_array_equal(found["size"][:, 1], 10 * np.arange(len(canvases)))
        assert sorted(seen) == [(1, 2, 2, 3), (1, 2, 3, 3), (2, 4, 3, 3), (MOST_AT_ONCE, 2, 3, 3)]


def test_requests_at_once_are_as_one_by_one(exported, encoded, assert_same_at_once):
    """`tests/slow/test_serving.py` does it with photographs."""
    sizes = [(60, 100), (120, 64), (64, 64), (96, 72)]
    files = [encoded(*size, seed) for seed in range(4) for size in sizes]
    assert_same_at_once(exported.signatures["serve_bytes"], files)


def test_bytes_tensor_and_example_agree(exported, encoded):
    signatures = exported.signatures
    file = encoded(64, 96)
    pixels = tf.constant(np.asarray(Image.open(io.BytesIO(file)))[None])
    expected = signatures["serving_default"](input_tensor=pixels)
    for name in ("serve_bytes", "serve_tf_example"):
        found = signatures[name](**request_of(name, [file]))
        assert found["is_valid"].numpy() == [True]
        for output in OUTPUTS:
            np.testing.assert_allclose(expected[output], found[output], atol=1e-5)


def test_model_garden_signature_counts_classes_from_1_and_is_float(square, encoded):
    pixels = tf.constant(np.asarray(Image.open(io.BytesIO(encoded(64, 96))))[None])
    ours = square.signatures["serving_default"](input_tensor=pixels)
    theirs = square.signatures["serve_model_garden"](input_tensor=pixels)
    assert {value.dtype for value in theirs.values()} == {tf.float32}
    for name in OUTPUTS - {"detection_classes"}:
        np.testing.assert_allclose(theirs[name], ours[name].numpy().astype(np.float32), atol=1e-6)
    np.testing.assert_array_equal(
        theirs["detection_classes"], ours["detection_classes"].numpy() + 1
    )


BAD = {
    "text": b"not an image",
    "nothing": b"",
    "cut JPEG": ("JPEG", 400),
    "cut PNG": ("PNG", 60),
    "JPEG without a head": b"\xff\xd8\xff",
    # A PNG that says it has 100,000 x 100,000 pixels.
    "large PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01\x86\xa0\0\x01\x86\xa0\x08\x02\0\0\0",
}


@pytest.mark.parametrize("name", ["serve_bytes", "serve_tf_example"])
def test_bad_files_have_no_detections_and_harm_no_others(exported, encoded, name):
    """A client learns which of its images is bad; the server goes on."""
    good = encoded(72, 96, 1)
    bad = [b if isinstance(b, bytes) else encoded(90, 90, 2, b[0])[: b[1]] for b in BAD.values()]
    serve = exported.signatures[name]
    alone = serve(**request_of(name, [good]))
    found = serve(**request_of(name, [bad[0], good, *bad[1:]]))
    assert found["is_valid"].numpy().tolist() == [False, True] + [False] * (len(bad) - 1)
    assert np.flatnonzero(found["num_detections"]).tolist() == [1]
    for output in OUTPUTS:
        values = found[output].numpy()
        np.testing.assert_allclose(values[1], alone[output][0], atol=1e-5)
        assert not np.delete(values, 1, axis=0).any()


@pytest.mark.slow
def test_large_files_are_not_decoded(make_finder, encoded, tmp_path):
    """Memory is bounded: what a header promises is refused before pixels are made."""
    version, _ = export_model(make_finder(), tmp_path, SavedModelExporter(max_pixels=320 * 240))
    serve = tf.saved_model.load(str(version)).signatures["serve_bytes"]
    for kind in ("PNG", "JPEG", "GIF", "BMP"):
        files = [encoded(240, 320, 0, kind), encoded(240, 321, 0, kind)]
        assert serve(image_bytes=tf.constant(files))["is_valid"].numpy().tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("serving_default", {"input_tensor": np.zeros((1, 64, 64, 3), np.float32)}),
        ("serving_default", {"input_tensor": np.zeros((64, 64, 3), np.uint8)}),
        ("serving_default", {"input_tensor": np.zeros((1, 64, 64, 4), np.uint8)}),
        ("serve_model_garden", {"input_tensor": np.zeros((1, 64, 64, 4), np.uint8)}),
        ("serve_bytes", {"image_bytes": np.zeros(1, np.uint8)}),
    ],
)
def test_wrong_dtype_or_shape_names_the_signature(square, name, request_):
    with pytest.raises(tf.errors.InvalidArgumentError, match=name):
        square.signatures[name](**{key: tf.constant(value) for key, value in request_.items()})


def test_every_signature_was_verified_and_can_be_run(square):
    manifest = json.loads((square.version / "manifest.json").read_text())
    assert set(manifest["parity"]) == set(square.signatures)
    detectors = open_signatures(square.version)
    assert next(iter(detectors)) == "serve_bytes"
    assert set(detectors) == set(square.signatures)
    assert load_detector(square.version).class_names == square.model.class_names


def test_names_of_signatures():
    assert signature_names(("images=predict", "tf_examples="))["images"] == "predict"
    assert "tf_examples" not in signature_names(("tf_examples=",))
    for bad in (("image=x",), ("images=a b",), ("images=serve_bytes",)):
        with pytest.raises(ConfigError, match="--signature must"):
            signature_names(bad)
    with pytest.raises(ConfigError, match="leave one"):
        signature_names(("images=", "encoded_images=", "tf_examples=", "model_garden="))


@pytest.mark.slow
@pytest.mark.parametrize("raw", ["dynamic", "fixed"])
def test_raw_variant_and_other_settings(make_finder, encoded, tmp_path, raw):
    model = make_finder(class_activation="softmax")
    version, parity = export_model(model, tmp_path / "out", SavedModelExporter(raw=raw))
    parity.refuse_unless_within(FLOAT32)
    assert parity.num_detections == 40
    (serve,) = tf.saved_model.load(str(version)).signatures.values()
    assert not list(version.rglob("tf_serving_warmup_requests"))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    found = {name: value.numpy() for name, value in serve(images=tf.constant(pixels)).items()}
    logits = found["class_logits"].astype(np.float64)
    np.testing.assert_allclose(found["scores"], 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert (found["scores"].sum(axis=-1) < 1).all()  # softmax, the background being the rest
    expected = model.box_coder.decode(found["box_deltas"], model.anchor_generator(64, 64))
    np.testing.assert_allclose(found["boxes"], expected, atol=1e-3)
    shape = serve.structured_input_signature[1]["images"].shape.as_list()
    assert shape == ([1, 64, 64, 3] if raw == "fixed" else [None, None, None, 3])


def test_settings_that_do_not_fit():
    inference = SimpleNamespace(input_policy=InputPolicy("shorter_side"))
    with pytest.raises(ConfigError, match="shorter_side"):
        raw_signature(None, inference, fixed=True)
    with pytest.raises(ConfigError, match="--raw must be"):
        SavedModelExporter(raw="both")
    with pytest.raises(ConfigError, match="--precision"):
        SavedModelExporter(precision="int3")
