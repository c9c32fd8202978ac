"""ONNX: the raw network in onnxruntime gives the detections of the Keras model."""

import numpy as np
import pytest

from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.errors import ConfigError, DataError, WeightsError
from keras_retinanet.export.export import export_model
from keras_retinanet.export.onnx_exporter import OnnxExporter
from keras_retinanet.export.verify import FLOAT32

HOW = "needs ONNX: pip install 'retinanet-keras[onnx]'"


@pytest.mark.slow
@pytest.mark.parametrize(("raw", "resize"), [("dynamic", "shorter_side"), ("fixed", "square")])
def test_parity(make_finder, tmp_path, raw, resize, small_resnet18):
    pytest.importorskip("tf2onnx", reason=HOW)
    onnxruntime = pytest.importorskip("onnxruntime", reason=HOW)
    model = make_finder(resize)
    version, parity = export_model(model, tmp_path, OnnxExporter(raw=raw))
    assert parity.num_detections == 40
    parity.refuse_unless_within(FLOAT32)
    assert {p.name for p in version.iterdir()} == {"model.onnx", "labels.txt", "manifest.json"}
    detector = load_detector(version / "model.onnx")
    assert detector.class_names == model.class_names
    session = onnxruntime.InferenceSession(str(version / "model.onnx"))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"images": pixels}), strict=True))
    expected = model(pixels.astype(np.float32), training=False)
    np.testing.assert_allclose(found["class_logits"], expected["class_logits"], atol=1e-4)
    boxes = model.box_coder.decode(expected["box_deltas"], model.anchor_generator(64, 64))
    np.testing.assert_allclose(found["boxes"], boxes, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("raw", ["dynamic", "fixed"])
def test_int8(make_finder, encoded, tmp_path, raw, small_resnet18):
    pytest.importorskip("tf2onnx", reason=HOW)
    pytest.importorskip("onnxruntime", reason=HOW)
    onnx = pytest.importorskip("onnx", reason=HOW)
    model = make_finder("square")
    rng = np.random.default_rng(0)
    for head in ("class_head", "box_head"):
        kernel = model.get_layer(f"{head}_predictions").kernel
        kernel.assign(rng.normal(0, 0.3, kernel.shape))  # scores that differ by more than rounding
    files = []
    for number, (height, width) in enumerate(((80, 120), (64, 64), (150, 90))):
        files.append(str(tmp_path / f"{number}.png"))
        (tmp_path / f"{number}.png").write_bytes(encoded(height, width, seed=number))
    exporter = OnnxExporter(raw=raw, precision="int8", calibration_files=tuple(files))
    version, parity = export_model(model, tmp_path / "out", exporter, images=files)
    assert parity.agreement >= 0.8 and parity.score > 0
    assert {p.name for p in version.iterdir()} == {"model.onnx", "labels.txt", "manifest.json"}
    graph = onnx.load(str(version / "model.onnx")).graph
    kinds = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 20
    for node in convolutions:  # weights and maps come from 8 bits
        assert [kinds[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
    # The decoding of boxes does not.
    users = [n.op_type for n in graph.node if "box_deltas" in n.input]
    assert users and "QuantizeLinear" not in users
    assert load_detector(version).class_names == model.class_names


def test_files_of_others_are_refused(tmp_path):
    pytest.importorskip("onnxruntime", reason=HOW)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load_detector(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"raw": "both"}, ConfigError, "--raw must be"),
        ({"precision": "int4"}, ConfigError, "--precision for onnx must be one of float32, int8"),
        ({"precision": "int8"}, DataError, r"int8 needs images.*--calibrate DATA"),
    ],
)
def test_settings(settings, error, message):
    with pytest.raises(error, match=message):
        OnnxExporter(**settings)
