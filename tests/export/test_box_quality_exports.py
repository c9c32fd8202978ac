"""Models that predict their boxes' quality: every export finds what the model finds."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.detection.runtimes.openvino_runtime import bare_detector, compiled
from keras_retinanet.errors import WeightsError
from keras_retinanet.export.export import export_model
from keras_retinanet.export.frozen import freeze
from keras_retinanet.export.keras_exporter import KerasExporter
from keras_retinanet.export.onnx_exporter import OnnxExporter
from keras_retinanet.export.openvino.openvino_exporter import OpenVINOExporter
from keras_retinanet.export.openvino.openvino_graph import network_graph
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.export.saved_model.signatures import input_sides
from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter
from keras_retinanet.export.torchvision_exporter import TorchvisionExporter
from keras_retinanet.export.verify import FLOAT32, compare
from keras_retinanet.geometry.inference_settings import InferenceSettings

pytestmark = pytest.mark.usefixtures("small_resnet18")

SHARE = 0.4


@pytest.fixture(scope="module")
def make(make_finder, small_resnet18):
    """A function that builds a model whose scores differ, and depend on the quality."""

    def model(kind="stretch", **settings):
        model = make_finder(
            kind,
            box_quality="iou",
            inference=InferenceSettings(max_detections=20, box_quality_share=SHARE),
            **settings,
        )
        rng = np.random.default_rng(0)
        for name in ("class_head", "box_head", "box_quality"):
            layer = model.get_layer(f"{name}_predictions")
            for kernel in (w for w in layer.trainable_weights if len(w.shape) == 4):
                kernel.assign(rng.normal(0, 0.3, kernel.shape))
        return model

    return model


@pytest.fixture(scope="module")
def model(make):
    return make()


@pytest.fixture(scope="module")
def files(encoded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, (height, width) in enumerate(((80, 120), (64, 64), (150, 90))):
        (folder / f"{number}.png").write_bytes(encoded(height, width, seed=number))
    return [str(path) for path in sorted(folder.iterdir())]


def export(model, folder, exporter, files):
    """Export a model; refused unless the file finds what the model does in `files`."""
    version, parity = export_model(model, folder, exporter, images=files)
    parity.refuse_unless_within(exporter.tolerance)
    assert parity.num_detections == 20 * len(files)
    return version, parity


def test_the_quality_decides_what_is_found(model, files):
    """Else these tests would pass without it."""
    without = dataclasses.replace(model.inference, box_quality_share=0.0)
    settings, found = model.inference, []
    for each in (settings, without):
        model.inference = each
        ((_, detections),) = KerasDetector(model).detect_files(
            files[:1], np.array([80]), np.array([120])
        )
        found.append(detections["boxes"])
    model.inference = settings
    assert np.abs(found[0] - found[1]).max() > 5


@pytest.mark.parametrize("raw", [None, pytest.param("dynamic", marks=pytest.mark.slow)])
def test_saved_model(model, files, tmp_path, raw):
    version, parity = export(model, tmp_path, SavedModelExporter(raw=raw), files)
    parity.refuse_unless_within(FLOAT32)
    if raw:
        serve = tf.saved_model.load(str(version)).signatures["serving_default"]
        assert set(serve.structured_outputs) == {"class_logits", "box_deltas", "scores", "boxes"}


def test_frozen_network_in_bfloat16_keeps_all_outputs(model):
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    outputs = freeze(model, "bfloat16")[0](tf.constant(images))
    for name, expected in model(images).items():
        assert outputs[name].dtype == tf.float32
        scale = np.abs(expected).max()
        np.testing.assert_allclose(outputs[name], expected, atol=0.05 * scale, err_msg=name)


def test_keras(model, files, tmp_path):
    exporter = KerasExporter()
    version, _ = export(model, tmp_path, exporter, files)
    written = exporter.write(model, version)
    assert set(written.contract["outputs"]) == {"class_logits", "box_deltas", "box_quality"}


@pytest.mark.parametrize(
    "postprocessing",
    ["op", *(pytest.param(name, marks=pytest.mark.slow) for name in ("builtin", "none"))],
)
def test_tflite(model, files, tmp_path, postprocessing):
    export(model, tmp_path, TFLiteExporter(postprocessing=postprocessing), files)


@pytest.mark.parametrize("precision", ["int8", pytest.param("dynamic", marks=pytest.mark.slow)])
def test_tflite_in_8_bits(model, files, tmp_path, precision):
    """Each level's quality has a scale of its own; it becomes part of the scores in float32."""
    exporter = TFLiteExporter(precision=precision, calibration_files=tuple(files))
    version, parity = export(model, tmp_path, exporter, files)
    assert parity.score > 1e-4
    ((_, found),) = load_detector(version).detect_files(files[:1], np.array([80]), np.array([120]))
    # Of 8 bits there would be steps of 1/256.
    assert np.abs(found["scores"] * 256 - np.round(found["scores"] * 256)).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"class_activation": "softmax"}, {"separable": True}])
def test_tflite_of_other_networks(make, files, tmp_path, settings):
    export(make(**settings), tmp_path, TFLiteExporter(), files)


def test_torchvision_has_no_such_network(model, tmp_path):
    message = r"model\.box_quality is iou, not none"
    with pytest.raises(WeightsError, match=message):
        TorchvisionExporter().write(model, tmp_path)


class TestOnnx:
    HOW = "needs ONNX: pip install 'retinanet-keras[onnx]'"

    @pytest.fixture(autouse=True)
    def _installed(self):
        for name in ("tf2onnx", "onnxruntime"):
            pytest.importorskip(name, reason=self.HOW)

    @pytest.mark.parametrize("raw", ["dynamic", pytest.param("fixed", marks=pytest.mark.slow)])
    def test_float32(self, model, files, tmp_path, raw):
        _, parity = export(model, tmp_path, OnnxExporter(raw=raw), files)
        parity.refuse_unless_within(FLOAT32)

    @pytest.mark.slow
    def test_int8_leaves_the_scores_alone(self, model, files, tmp_path):
        onnx = pytest.importorskip("onnx", reason=self.HOW)
        exporter = OnnxExporter(precision="int8", calibration_files=tuple(files))
        version, parity = export(model, tmp_path, exporter, files)
        assert parity.agreement >= 0.8 and parity.score > 0
        graph = onnx.load(str(version / "model.onnx")).graph
        maker = {output: node for node in graph.node for output in node.output}
        waiting, kinds = ["class_logits"], []
        while waiting:  # back to the network's own logits
            node = maker.get(waiting.pop())
            if node is not None and node.op_type != "Concat":
                kinds.append(node.op_type)
                waiting.extend(node.input)
        assert "Log" in kinds and not {"QuantizeLinear", "DequantizeLinear"} & set(kinds)


class TestOpenVINO:
    HOW = "needs OpenVINO: pip install 'retinanet-keras[openvino]'"

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("openvino", reason=self.HOW)

    @pytest.mark.parametrize(
        "raw", [None, *(pytest.param(r, marks=pytest.mark.slow) for r in ("dynamic", "fixed"))]
    )
    def test_float32(self, model, files, tmp_path, raw):
        version, parity = export(model, tmp_path, OpenVINOExporter(raw=raw), files)
        parity.refuse_unless_within(FLOAT32)
        assert load_detector(version).class_names == model.class_names

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", ["int8", "bfloat16"])
    def test_scores_are_made_in_float32(self, model, files, tmp_path, precision):
        pytest.importorskip("nncf", reason=self.HOW)
        images = tuple(files) if precision == "int8" else ()
        exporter = OpenVINOExporter(precision=precision, calibration_files=images)
        version, parity = export(model, tmp_path, exporter, files)
        assert parity.agreement >= 0.8
        ((_, found),) = load_detector(version).detect_files(
            files[:1], np.array([80]), np.array([120])
        )
        rounded = tf.cast(tf.cast(found["scores"], tf.bfloat16), tf.float32)
        assert np.mean(rounded == found["scores"]) < 0.5

    @pytest.mark.slow
    @pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
    def test_the_network_alone_is_measured_by_the_same_scores(self, make, files, activation):
        """As `--max-ap-drop` does, layer by layer."""
        model = make(class_activation=activation)
        settings = DetectorSettings.of_model(model)
        sides = input_sides(settings)
        network = network_graph(freeze(model, "float32", sides)[0], settings, sides)
        parity = compare(model, bare_detector(compiled(network, "float32"), settings), files)
        parity.refuse_unless_within(FLOAT32)
        assert parity.num_detections == 20 * len(files)
