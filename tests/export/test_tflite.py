"""The TFLite file: parity, labels, metadata, quantisation, and what is refused."""

import dataclasses
import json

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.lite.tools import flatbuffer_utils

from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.detection.runtimes.tflite_file import read_file
from keras_retinanet.errors import ConfigError, DataError, WeightsError
from keras_retinanet.export.export import export_model
from keras_retinanet.export.tflite.join import BUFFER_ALIGNMENT, refuse_variables
from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter, calibration_images
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy

pytestmark = pytest.mark.usefixtures("small_resnet18")

NAMES = ("cat", "dog", "élan", "four", "five")
SIDE = 64


@pytest.fixture(scope="module")
def model(make_finder, small_resnet18):
    # It finds something everywhere, of every class.
    model = make_finder(
        "stretch", class_names=NAMES, inference=InferenceSettings(max_detections=30)
    )
    spread_predictions(model)
    return model


def spread_predictions(model):
    rng = np.random.default_rng(0)
    for head in ("class_head", "box_head"):
        kernel = model.get_layer(f"{head}_predictions").kernel
        kernel.assign(rng.normal(0, 0.3, kernel.shape))


@pytest.fixture(scope="module")
def images():
    small = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    large = [Image.fromarray(x).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for x in small]
    return np.stack([np.asarray(image) for image in large])


@pytest.fixture(scope="module")
def files(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i, image in enumerate(images):
        Image.fromarray(image).resize((90, 50)).save(folder / f"{i}.png")
    return tuple(str(path) for path in sorted(folder.iterdir()))


@pytest.fixture(scope="module")
def expected(model, images):
    return KerasDetector(model)(images, np.array([[SIDE, SIDE]] * len(images), np.int32))


def write(model, folder, **settings):
    exporter = TFLiteExporter(**settings)
    return exporter.write(model, folder), exporter


@pytest.fixture(scope="module")
def op(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("op")
    write(model, folder)
    return folder / "model.tflite"


def check_same(found, expected):
    np.testing.assert_array_equal(found["num_detections"], expected["num_detections"])
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=0.1)


def detect(path, images, **settings):
    from keras_retinanet.detection.runtimes.tflite_runtime import TFLiteDetector

    detector = TFLiteDetector(path, **settings)
    return detector(images, np.array([[SIDE, SIDE]] * len(images)))


# LiteRT's regular NMS loses class 2 with two threads and class 4 with four.
@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_detections_are_those_of_keras(op, images, expected, num_threads):
    assert set(expected["classes"].ravel()) == {0, 1, 2, 3, 4}
    check_same(detect(op, images, num_threads=num_threads), expected)


@pytest.mark.slow
@pytest.mark.parametrize("postprocessing", ["builtin", "none"])
def test_other_postprocessings_agree(model, images, expected, postprocessing, tmp_path):
    write(model, tmp_path, postprocessing=postprocessing)
    check_same(detect(tmp_path / "model.tflite", images), expected)


@pytest.mark.slow
@pytest.mark.parametrize("postprocessing", ["op", "builtin"])
def test_few_detections_leave_zeros(model, images, expected, postprocessing, tmp_path, monkeypatch):
    scores = np.sort(expected["scores"].ravel())
    between = float(scores[-12:-10].mean())
    settings = dataclasses.replace(model.inference, score_threshold=between)
    monkeypatch.setattr(model, "inference", settings)
    few = KerasDetector(model)(images, np.array([[SIDE, SIDE]] * len(images), np.int32))
    assert few["num_detections"].sum() == 11
    write(model, tmp_path, postprocessing=postprocessing)
    check_same(detect(tmp_path / "model.tflite", images), few)


@pytest.mark.slow
def test_softmax_and_corner_boxes(make_tiny, images, tmp_path):
    from keras_retinanet.geometry.boxes import BoxCoder

    model = make_tiny(
        prior=0.5,
        channels=8,
        class_activation="softmax",
        box_coder=BoxCoder("corner", (0.2, 0.2, 0.2, 0.2)),
        input_policy=InputPolicy("stretch", size=SIDE),
    )
    spread_predictions(model)
    sizes = np.array([[SIDE, SIDE]] * len(images), np.int32)
    expected = KerasDetector(model)(images, sizes)
    assert expected["num_detections"].min() > 0
    write(model, tmp_path)
    check_same(detect(tmp_path / "model.tflite", images), expected)


class TestFile:
    @pytest.fixture(scope="class")
    def graph(self, op):
        return flatbuffer_utils.convert_bytearray_to_object(bytearray(op.read_bytes()))

    def test_has_one_image_in_and_four_named_outputs(self, op):
        interpreter = tf.lite.Interpreter(str(op))
        (image,) = interpreter.get_input_details()
        assert image["name"] == "image" and image["shape"].tolist() == [1, SIDE, SIDE, 3]
        outputs = [(o["name"], o["shape"].tolist()) for o in interpreter.get_output_details()]
        assert outputs == [
            ("location", [1, 30, 4]),
            ("category", [1, 30]),
            ("score", [1, 30]),
            ("number of detections", [1]),
        ]
        signature = interpreter.get_signature_list()["serving_default"]
        assert signature["inputs"] == ["image"]
        assert set(signature["outputs"]) == {name for name, _ in outputs}

    def test_weights_lie_on_boundaries(self, op):
        """Python's flatbuffers leave them anywhere, and kernels read them in place."""
        from tensorflow.lite.python import schema_py_generated as schema

        content = op.read_bytes()
        model = schema.Model.GetRootAsModel(content, 0)
        offsets = []
        for i in range(model.BuffersLength()):
            buffer = model.Buffers(i)
            if buffer.DataLength():
                place = buffer._tab.Vector(buffer._tab.Offset(4))
                offsets.append(place)
        assert len(offsets) > 20
        assert {offset % BUFFER_ALIGNMENT for offset in offsets} == {0}

    def test_labels_and_settings_travel_with_it(self, op, model):
        content = op.read_bytes()
        assert read_file(content, "labels.txt").decode().splitlines() == list(NAMES)
        settings = json.loads(read_file(content, "inference.json"))
        assert settings["max_detections"] == 30
        assert (op.parent / "labels.txt").read_text("utf-8").splitlines() == list(NAMES)
        assert load_detector(op).class_names == NAMES

    def test_metadata_can_be_read_field_by_field(self, graph):
        """By the numbers of the public schema, from the root down to the labels' name."""
        (entry,) = [m for m in graph.metadata if m.name == b"TFLITE_METADATA"]
        data = bytes(graph.buffers[entry.buffer].data)
        assert data[4:8] == b"M001"
        root = table(data, flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0))
        (subgraph,) = vector(root, 3)
        (image,) = vector(subgraph, 2)
        assert text(image, 0) == "image"
        outputs = vector(subgraph, 3)
        assert [text(output, 0) for output in outputs] == [
            "location",
            "category",
            "score",
            "number of detections",
        ]
        (labels,) = vector(outputs[1], 6)
        assert text(labels, 0) == "labels.txt"

    def test_variables_in_place_of_weights_are_refused(self, op, graph):
        refuse_variables(op.read_bytes())
        from tensorflow.lite.python import schema_py_generated as schema

        broken = flatbuffer_utils.convert_bytearray_to_object(bytearray(op.read_bytes()))
        broken.operatorCodes[0].builtinCode = schema.BuiltinOperator.READ_VARIABLE
        with pytest.raises(WeightsError, match="variables in place of weights"):
            refuse_variables(flatbuffer_utils.convert_object_to_bytearray(broken))

    def test_of_other_makers_is_refused(self, tmp_path):
        (tmp_path / "other.tflite").write_bytes(b"TFL3 and so on")
        with pytest.raises(WeightsError, match=r"holds no inference\.json"):
            load_detector(tmp_path / "other.tflite")


def table(data, position):
    return flatbuffers.table.Table(bytearray(data), position)


def vector(parent, slot):
    offset = parent.Offset(4 + 2 * slot)
    start = parent.Vector(offset)
    return [
        flatbuffers.table.Table(parent.Bytes, parent.Indirect(start + 4 * i))
        for i in range(parent.VectorLen(offset))
    ]


def text(parent, slot):
    return parent.String(parent.Pos + parent.Offset(4 + 2 * slot)).decode()


@pytest.mark.slow
class TestQuantisation:
    @pytest.mark.parametrize(
        ("settings", "dtype"),
        [
            ({"precision": "float16"}, np.float32),
            ({"precision": "dynamic"}, np.float32),
            ({"precision": "float32", "input_type": "uint8"}, np.uint8),
            ({"precision": "int8"}, np.uint8),
            ({"precision": "int8", "input_type": "float32"}, np.float32),
        ],
        ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
    )
    def test_keeps_the_best_detections(
        self, model, files, images, expected, settings, dtype, tmp_path
    ):
        if settings["precision"] == "int8":
            settings = {**settings, "calibration_files": files}
        write(model, tmp_path, **settings)
        path = tmp_path / "model.tflite"
        (image,) = tf.lite.Interpreter(str(path)).get_input_details()
        assert image["dtype"] == dtype
        if settings["precision"] == "int8" and dtype == np.uint8:
            assert image["quantization"] == (1.0, 0)  # bytes as they are
        found = detect(path, images)
        for i in range(len(images)):
            best = expected["boxes"][i, 0]
            same = found["classes"][i] == expected["classes"][i, 0]
            distance = np.abs(found["boxes"][i][same] - best).max(axis=1).min()
            assert distance < 3.0

    def test_sizes_fall(self, model, files, tmp_path):
        sizes = {}
        for precision in ("float32", "float16", "int8"):
            folder = tmp_path / precision
            folder.mkdir()
            written, _ = write(
                model,
                folder,
                precision=precision,
                calibration_files=files if precision == "int8" else (),
            )
            sizes[precision] = (folder / "model.tflite").stat().st_size
            assert sizes[precision] >= written.weights_bytes
        assert sizes["float16"] < 0.6 * sizes["float32"]
        assert sizes["int8"] < 0.4 * sizes["float32"]


class TestCalibration:
    def test_int8_without_images_is_refused(self):
        with pytest.raises(DataError, match=r"int8 needs images.*--calibrate DATA"):
            TFLiteExporter(precision="int8")

    def test_one_image_is_a_warning(self, files, caplog):
        assert len(calibration_images(files[:1], SIDE)) == 1
        assert "only 1 calibration image: 32 or more" in caplog.text

    def test_corrupt_images_are_left_out_with_a_warning(self, files, tmp_path, caplog):
        bad = tmp_path / "bad.png"
        bad.write_bytes(b"no image")
        images = calibration_images([*files, str(bad), str(tmp_path / "missing.png")], SIDE)
        assert len(images) == len(files)
        assert {image.shape for image in images} == {(SIDE, SIDE, 3)}
        assert "2 of 6 calibration images cannot be decoded" in caplog.text
        assert str(bad) in caplog.text

    def test_nothing_but_corrupt_images_stops(self, tmp_path):
        bad = tmp_path / "bad.png"
        bad.write_bytes(b"no image")
        with pytest.raises(DataError, match=r"none of the 1 calibration images.*bad\.png"):
            calibration_images([str(bad)], SIDE)

    def test_many_images_are_no_warning(self, files, caplog):
        calibration_images(files * 8, SIDE)
        assert caplog.records == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "int4"}, "--precision must be one of float32, float16, dynamic, int8"),
        ({"postprocessing": "nms"}, "--postprocessing must be one of op, builtin, none"),
        ({"input_type": "int8"}, "--input-type must be one of float32, uint8"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TFLiteExporter(**settings)


def test_a_model_of_many_input_sizes_needs_one(make_tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"one input size.*--input-size"):
        export_model(make_tiny(channels=8), tmp_path, TFLiteExporter())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_export_of_a_model_trained_with_padding_is_measured_stretched(
    make_tiny, files, tmp_path, caplog
):
    model = make_tiny(channels=8, prior=0.3, input_policy=InputPolicy("square", size=SIDE))
    version, parity = export_model(model, tmp_path, TFLiteExporter(), images=files)
    assert "trained with image.resize=square" in caplog.text
    assert parity.num_detections and parity.box < 0.1 and parity.num_mismatches == 0
    assert model.input_policy.resize == "square"
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["format"] == "tflite"
    assert load_detector(version).input_policy.resize == "stretch"


@pytest.mark.slow
def test_what_stretching_costs_is_measured(make_tiny, tmp_path, monkeypatch):
    from keras_retinanet.data.demo.demo import write_demo_dataset
    from keras_retinanet.data.source import load_dataset
    from keras_retinanet.export import verify

    model = make_tiny(channels=8, prior=0.3, input_policy=InputPolicy("square", size=SIDE))
    data = write_demo_dataset(tmp_path / "set", num_train=1, num_val=1)
    dataset = load_dataset(data, "val")

    def ap_by_resizing(detector, given):
        assert given is dataset
        policy = detector.input_policy
        is_file = type(detector).__name__ == "TFLiteDetector"
        return {
            "AP": 0.4755 if is_file else {"square": 0.602, "stretch": 0.476}[policy.resize]
        }, None

    monkeypatch.setattr(verify, "evaluate", ap_by_resizing)
    version, parity = export_model(model, tmp_path / "out", TFLiteExporter(), dataset=dataset)
    assert (parity.trained_ap, parity.model_ap, parity.ap) == (0.602, 0.476, 0.4755)
    assert "AP 0.4755, of the model 0.4760; AP 0.602 -> 0.476 by stretching" in str(parity)
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["parity"]["model.tflite"]["trained_ap"] == 0.602


@pytest.mark.slow
def test_other_weights_are_noticed(model, files, tmp_path, monkeypatch):
    import keras_retinanet.export.tflite.tflite_exporter as module

    original = module.network_conversion

    def broken(given, **settings):
        bias = given.get_layer("box_head_predictions").bias
        before = bias.numpy()
        bias.assign(before + 0.5)
        try:
            return original(given, **settings)
        finally:
            bias.assign(before)

    monkeypatch.setattr(module, "network_conversion", broken)
    with pytest.raises(WeightsError, match="something else"):
        export_model(model, tmp_path, TFLiteExporter(), images=files)
    assert list(tmp_path.iterdir()) == []
