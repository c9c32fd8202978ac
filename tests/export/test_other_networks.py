"""Networks, anchors and post-processing of other projects: exports find what the model finds."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.export.export import export_model
from keras_retinanet.export.saved_model.saved_model_exporter import SavedModelExporter
from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter
from keras_retinanet.export.verify import FLOAT32
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.variant import NetworkVariant

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture(scope="module")
def model(make_tiny, small_resnet18):
    """torchvision v2's conventions, Detectron2's clipping, the scales and coding of ATSS; boxes
    reach over all borders."""
    model = make_tiny(
        prior=0.3,
        channels=32,
        head_depth=1,
        anchor_generator=AnchorGenerator(offset=0.0, rounded=True, integer_sizes=True, step="grid"),
        input_policy=InputPolicy(
            size=64,
            max_size=100,
            pad_multiple=8,  # so that maps have odd sides
            pad_value=(123.675, 116.28, 103.53),
            pixels="float32",
            rounding="floor",
        ),
        inference=InferenceSettings(max_detections=30, clip="after_nms", drop_empty=False),
        variant=NetworkVariant(
            padding="symmetric",
            fpn_padding="symmetric",
            fpn_upsampling="nearest",
            head_norm="group",
            box_level_scale=True,
            p6_from="p5",
        ),
        box_coder=BoxCoder(variances=(0.1, 0.1, 0.2, 0.2)),
    )
    rng = np.random.default_rng(0)
    for head in ("class_head", "box_head"):
        kernel = model.get_layer(f"{head}_predictions").kernel
        kernel.assign(rng.normal(0, 0.1, kernel.shape))
    for level in range(3, 8):
        # Far from 1; with the coding, deltas are as large as they would be without both.
        model.get_layer(f"box_head_scale_p{level}").scale.assign(rng.uniform(4, 8))
    return model


@pytest.fixture(scope="module")
def file(encoded, tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "image.png"
    path.write_bytes(encoded(83, 121))  # scaled to 64 x 93, on a canvas of 64 x 96
    return str(path)


@pytest.mark.parametrize("raw", [None, "dynamic"])
def test_saved_model(model, file, tmp_path, raw):
    version, parity = export_model(
        model, tmp_path / "out", SavedModelExporter(raw=raw), images=[file]
    )
    parity.refuse_unless_within(FLOAT32)
    assert parity.num_detections == 30
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["inference"]["clip"] == "after_nms"
    found = load_detector(version).detect_files([file], np.array([83]), np.array([121]))
    ((_, found),) = found
    expected = model.detect(file)
    np.testing.assert_allclose(found["boxes"], expected.boxes, atol=0.01)
    np.testing.assert_allclose(found["scores"], expected.scores, atol=1e-5)
    corners = np.asarray(expected.boxes)
    assert (corners >= 0).all() and (corners[:, 2] <= 121).all() and (corners[:, 3] <= 83).all()
    if raw:
        (serve,) = tf.saved_model.load(str(version)).signatures.values()
        assert serve.structured_input_signature[1]["images"].dtype == tf.float32


def test_tflite_says_what_it_does_otherwise(model, file, tmp_path, caplog):
    exporter = TFLiteExporter(input_size=64)
    with caplog.at_level(logging.WARNING):
        version, parity = export_model(model, tmp_path / "out", exporter, images=[file])
    parity.refuse_unless_within(exporter.tolerance)
    assert parity.num_detections == 30
    assert "a TFLite file cuts boxes to the image before NMS and drops empty ones" in caplog.text
    assert load_detector(version)._settings.inference.clip == "before_nms"


@pytest.mark.parametrize("postprocessing", ["op", "builtin"])
def test_tflite_suppresses_across_classes(model, file, tmp_path, postprocessing, iou_by_loops):
    """As the model does, and otherwise than by class."""

    def most_overlap(detector):
        ((_, found),) = detector.detect_files([file], np.array([83]), np.array([121]))
        assert len(found["boxes"]) > 10
        return np.triu(iou_by_loops(found["boxes"], found["boxes"]), 1).max()

    assert most_overlap(KerasDetector(model)) > 0.6  # of different classes
    exporter = TFLiteExporter(input_size=64, postprocessing=postprocessing)
    by_class = model.inference
    model.inference = dataclasses.replace(
        by_class, clip="before_nms", drop_empty=True, nms_across_classes=True
    )
    try:
        version, parity = export_model(model, tmp_path / "out", exporter, images=[file])
    finally:
        model.inference = by_class
    parity.refuse_unless_within(exporter.tolerance)
    assert most_overlap(load_detector(version)) < 0.501


def test_tflite_without_postprocessing_leaves_it_to_the_client(model, tmp_path, caplog):
    exporter = TFLiteExporter(input_size=64, postprocessing="none")
    with caplog.at_level(logging.WARNING):
        assert exporter.as_clients_run_it(model).inference == model.inference
    assert "drops empty ones" not in caplog.text
