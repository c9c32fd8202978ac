"""ONNX: the raw network in onnxruntime gives the detections of the Keras model."""

import numpy as np
import pytest

from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.errors import ConfigError, WeightsError
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


def test_files_of_others_are_refused(tmp_path):
    pytest.importorskip("onnxruntime", reason=HOW)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load_detector(tmp_path / "model.onnx")


def test_settings():
    with pytest.raises(ConfigError, match="--raw must be"):
        OnnxExporter(raw="both")
