"""OpenVINO: the exported file gives the detections of the Keras model, in OpenVINO itself."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.data.pipeline.batches import preprocess
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.detection.runtimes.openvino_runtime import CANVAS_NODE, SIDES_NODE
from keras_retinanet.errors import ConfigError, DataError, WeightsError
from keras_retinanet.export.export import export_model
from keras_retinanet.export.frozen import freeze
from keras_retinanet.export.openvino.openvino_exporter import OpenVINOExporter
from keras_retinanet.export.openvino.openvino_graph import (
    highest_by_threshold,
    network_graph,
    scaling_graph,
)
from keras_retinanet.export.openvino.quantize import quantize, quantize_within
from keras_retinanet.export.saved_model.signatures import input_sides
from keras_retinanet.export.verify import FLOAT32
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy

IN_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}  # OpenVINO takes bfloat16 where a CPU has it
HOW = "needs OpenVINO: pip install 'retinanet-keras[openvino]'"


@pytest.fixture(scope="module")
def openvino():
    return pytest.importorskip("openvino", reason=HOW)


@pytest.fixture(scope="module")
def photos(encoded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    sizes = ((80, 120), (64, 64), (150, 90))
    for number, (height, width) in enumerate(sizes):
        (folder / f"{number}.png").write_bytes(encoded(height, width, seed=number))
    return tuple(str(path) for path in sorted(folder.iterdir()))


@pytest.fixture(scope="module")
def decided(make_finder, small_resnet18):
    """A model whose scores differ: rounding does not exchange its detections."""
    model = make_finder("square", inference=InferenceSettings(max_detections=20))
    rng = np.random.default_rng(0)
    for head in ("class_head", "box_head"):
        kernel = model.get_layer(f"{head}_predictions").kernel
        kernel.assign(rng.normal(0, 0.3, kernel.shape))
    return model


@pytest.mark.parametrize(
    "policy",
    [
        InputPolicy("shorter_side", size=80, max_size=133),
        InputPolicy("square", size=64),
        InputPolicy("stretch", size=64),
    ],
    ids=lambda policy: policy.resize,
)
def test_images_are_scaled_to_the_last_bit(openvino, policy):
    scaled = openvino.compile_model(scaling_graph(policy), "CPU", IN_FLOAT32)
    rng = np.random.default_rng(0)
    # The first two are halves of a pixel exactly, where one bit decides.
    sizes = [(2336, 4672), (1600, 955), *rng.integers(20, 900, (30, 2)).tolist()]
    for height, width in sizes:
        image = rng.integers(0, 256, (1, height, width, 3), np.uint8)
        found = scaled({"input_tensor": image})
        expected, size = preprocess(tf.constant(image), policy)
        np.testing.assert_array_equal(found["images"], expected, f"{height}x{width}")
        np.testing.assert_array_equal(found["sizes"], [size])
        np.testing.assert_array_equal(found["canvas"], expected.shape[1:3])


def test_of_equal_values_the_first_are_candidates(openvino, tmp_path):
    module = tf.Module()
    specs = [tf.TensorSpec((None, None)), tf.TensorSpec((), tf.int32)]
    module.serve = tf.function(
        lambda values, k: highest_by_threshold(values, k), input_signature=specs, autograph=False
    )
    tf.saved_model.save(module, str(tmp_path), signatures=module.serve)
    highest = openvino.compile_model(openvino.convert_model(tmp_path), "CPU", IN_FLOAT32)
    rng = np.random.default_rng(0)
    for num_values, k, step in (
        (1, 1, 1),
        (13, 5, 1),
        (4000, 1000, 0),
        (4000, 1000, 0.5),
        (90, 90, 2),
    ):
        values = rng.normal(0, 1, (3, num_values)).astype(np.float32)
        if step:
            values = np.round(values / step) * np.float32(step)
        expected = np.sort(np.argsort(-values, axis=1, kind="stable")[:, :k], axis=1)
        (found,) = highest({"values": values, "k": np.int32(k)}).values()
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["shorter_side", "square", "stretch"])
def test_whole_images(openvino, make_finder, tmp_path, photos, resize, small_resnet18):
    model = make_finder(resize)
    version, parity = export_model(model, tmp_path, OpenVINOExporter(), images=photos)
    assert parity.num_detections == 60
    parity.refuse_unless_within(FLOAT32)
    names = {"model.xml", "model.bin", "labels.txt", "manifest.json"}
    assert {path.name for path in version.iterdir()} == names
    assert load_detector(version).class_names == model.class_names
    contract = json.loads((version / "manifest.json").read_text())["contract"]["signatures"]
    assert contract["serving_default"]["inputs"] == {
        "input_tensor": {"dtype": "uint8", "shape": [None, None, None, 3]}
    }
    nodes = openvino.Core().read_model(version / "model.xml").get_ordered_ops()
    known = {CANVAS_NODE, SIDES_NODE} & {node.get_friendly_name() for node in nodes}
    assert known == (set() if resize == "shorter_side" else {CANVAS_NODE, SIDES_NODE})
    # A client's way: two images at once, by OpenVINO alone, are as each by itself.
    network = openvino.compile_model(version / "model.xml", "CPU", IN_FLOAT32)
    pixels = np.stack([np.asarray(Image.open(photos[0])), np.asarray(Image.open(photos[0]))[::-1]])
    both = network({"input_tensor": pixels})
    each = [{k.any_name: v for k, v in network({"input_tensor": p[None]}).items()} for p in pixels]
    for output in network.outputs:
        alone = np.concatenate([found[output.any_name] for found in each])
        np.testing.assert_allclose(both[output], alone, atol=1e-5)
    assert both["num_detections"].tolist() == [20, 20]
    # Of a batch each image has its own place, and what it has alone: equal to rounding, since
    # OpenVINO may share out the work otherwise.
    sides = np.array([Image.open(photo).size[::-1] for photo in photos] * 3)
    one, several = (
        dict(load_detector(version).detect_files(photos * 3, *sides.T, batch_size=size))
        for size in (1, 4)
    )
    assert list(one) == list(several) == list(range(9))
    for alone, beside in zip(one.values(), several.values(), strict=True):
        np.testing.assert_allclose(beside["boxes"], alone["boxes"], atol=1e-3)
        np.testing.assert_allclose(beside["scores"], alone["scores"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("raw", "resize"), [("dynamic", "shorter_side"), ("fixed", "square")])
def test_raw(openvino, make_finder, tmp_path, raw, resize, small_resnet18):
    model = make_finder(resize)
    version, parity = export_model(model, tmp_path, OpenVINOExporter(raw=raw))
    assert parity.num_detections == 40
    parity.refuse_unless_within(FLOAT32)
    network = openvino.compile_model(version / "model.xml", "CPU", IN_FLOAT32)
    assert network.input().partial_shape.is_static == (raw == "fixed")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    found = network({"images": pixels})
    expected = model(pixels.astype(np.float32), training=False)
    np.testing.assert_allclose(found["class_logits"], expected["class_logits"], atol=1e-4)
    boxes = model.box_coder.decode(expected["box_deltas"], model.anchor_generator(64, 64))
    np.testing.assert_allclose(found["boxes"], boxes, atol=0.01)


@pytest.mark.slow
def test_bfloat16_is_half_the_file(openvino, decided, tmp_path, photos):
    sizes = {}
    for precision in ("float32", "bfloat16"):
        exporter = OpenVINOExporter(precision=precision)
        version, parity = export_model(decided, tmp_path / precision, exporter, images=photos)
        sizes[precision] = (version / "model.bin").stat().st_size
        assert parity.score < 0.02
    assert sizes["bfloat16"] < 0.6 * sizes["float32"]


@pytest.mark.slow
def test_int8(openvino, decided, tmp_path, photos):
    pytest.importorskip("nncf", reason=HOW)
    exporter = OpenVINOExporter(precision="int8", calibration_files=photos)
    version, parity = export_model(decided, tmp_path, exporter, images=photos)
    assert parity.agreement >= 0.8
    graph = openvino.Core().read_model(version / "model.xml")
    kinds = [node.get_type_name() for node in graph.get_ops()]
    weights = [n.get_element_type() for n in graph.get_ops() if n.get_type_name() == "Constant"]
    # Of the network every convolution, and the shared heads' of five levels have one weight each.
    assert 20 < weights.count(openvino.Type.i8) <= kinds.count("Convolution")
    assert kinds.count("FakeQuantize") > kinds.count("Convolution") / 2


LATER = """
import logging
from keras_retinanet.export.openvino.quantize import import_nncf
import_nncf()
logging.getLogger("nncf").warning("seen")
"""


def test_what_nncf_logs_later_has_a_place():
    pytest.importorskip("nncf", reason=HOW)
    run = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=True)
    assert "seen" in run.stderr and "Logging error" not in run.stderr
    assert run.stdout == ""


def num_in_8_bits(compiled):
    """How many convolutions a compiled network computes in 8 bits."""
    about = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kinds = [(a["layerType"].astype(str), a["runtimePrecision"].astype(str)) for a in about]
    return sum(kind == "Convolution" and precision in ("i8", "u8") for kind, precision in kinds)


@pytest.mark.slow
def test_layers_that_cost_ap_stay_float32(openvino, decided):
    pytest.importorskip("nncf", reason=HOW)
    settings = DetectorSettings.of_model(decided)
    sides = input_sides(settings)
    network = network_graph(freeze(decided, "float32", sides)[0], settings, sides)
    rng = np.random.default_rng(0)
    inputs = [rng.integers(0, 256, (1, *sides, 3), np.uint8) for _ in range(2)]
    whole = num_in_8_bits(openvino.compile_model(quantize(network, inputs), "CPU", IN_FLOAT32))
    assert whole > 20

    def average_precision(compiled, images):
        assert images and set(images) <= {0, 1, 2}
        return 0.5 - 0.01 * num_in_8_bits(compiled)  # each costs a hundredth

    result = quantize_within(network, inputs, average_precision, 3, 0.01 * whole - 0.025)
    kept = num_in_8_bits(openvino.compile_model(result, "CPU", IN_FLOAT32))
    assert 0 < kept <= whole - 3


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"raw": "both"}, ConfigError, "--raw must be"),
        ({"precision": "int4"}, ConfigError, "--precision for openvino must be one of float32"),
        ({"precision": "int8"}, DataError, "int8 needs images.*--calibrate DATA"),
        ({"max_ap_drop": 0.01}, ConfigError, "--max-ap-drop goes with --precision int8"),
    ],
)
def test_settings(settings, error, message):
    with pytest.raises(error, match=message):
        OpenVINOExporter(**settings)


def test_files_of_others_are_refused(openvino, tmp_path):
    (tmp_path / "model.xml").write_text("no model")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load_detector(tmp_path / "model.xml")
