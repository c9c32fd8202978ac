"""docs/edge.md: its Python examples run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_resnet18")]

DOC = Path(__file__).parents[2] / "docs" / "edge.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    ("package", "example"), zip(("ai_edge_litert", "mediapipe"), EXAMPLES, strict=True)
)
def test_example_prints_detections(package, example, make_tiny, tmp_path, monkeypatch, capsys):
    pytest.importorskip(package, reason=f"pip install {package.replace('_', '-')}")
    model = make_tiny(
        class_names=("cat", "dog"),
        prior=0.45,
        channels=8,
        inference=InferenceSettings(max_detections=7),
        input_policy=InputPolicy("stretch", size=64),
    )
    TFLiteExporter().write(model, tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert len(capsys.readouterr().out.splitlines()) == 7
