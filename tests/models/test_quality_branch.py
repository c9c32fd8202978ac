"""A model that predicts its boxes' quality: its layers, its files, and that it learns."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.detection.model_files import load_model
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.matching import match_anchors
from keras_retinanet.losses import DetectionLoss, GIoULoss
from keras_retinanet.losses.task_aligned import TaskAlignedDetectionLoss, TaskAlignedMatching
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import save_for_inference
from keras_retinanet.models.variant import NetworkVariant

pytestmark = pytest.mark.usefixtures("small_resnet18")

HEADS = {
    "plain": {},
    "group norm, scales": {
        "channels": 32,
        "variant": NetworkVariant(head_norm="group", box_level_scale=True),
    },
    "batch norm": {"variant": NetworkVariant(head_norm="batch")},
    "light": {"separable": True, "batchnorm": "trainable"},
}


@pytest.fixture(params=HEADS.values(), ids=HEADS.keys())
def settings(request):
    return request.param


def test_it_is_one_layer_more_on_the_box_tower(make_tiny, settings):
    with_it, without = make_tiny(box_quality="iou", **settings), make_tiny(**settings)
    names = [[layer.name for layer in m.layers if layer.weights] for m in (with_it, without)]
    assert set(names[0]) - set(names[1]) == {"box_quality_predictions"}
    assert set(names[1]) < set(names[0])
    # All else starts with the same values, and gives the same.
    for name in names[1]:
        pairs = zip(*(m.get_layer(name).get_weights() for m in (with_it, without)), strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one, other, err_msg=name)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    outputs, expected = with_it(images), without(images)
    assert outputs.keys() == {"class_logits", "box_deltas", "box_quality"}
    assert expected.keys() == {"class_logits", "box_deltas"}
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, rtol=1e-5, atol=1e-6)
    assert outputs["box_quality"].shape == (2, len(with_it.anchor_generator(64, 96)), 1)


def test_it_sees_the_last_map_of_the_box_tower(make_tiny):
    model = make_tiny(box_quality="iou")
    layer = model.get_layer("box_quality_predictions")
    kernel, bias = layer.get_weights()
    assert kernel.shape == (3, 3, 16, model.anchor_generator.num_per_cell)
    np.testing.assert_allclose(kernel.std(), 0.01, rtol=0.1)
    np.testing.assert_array_equal(bias, 0)
    layer.bias.assign(np.arange(9))
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    before = model(images)
    last = model.get_layer("box_head_conv_1")
    last.kernel.assign(0.0 * last.kernel)
    last.bias.assign(0.0 * last.bias)
    after = model(images)["box_quality"]
    # With an empty map the biases are left: one for each anchor of a cell, on all levels.
    np.testing.assert_allclose(after[0, :, 0], np.tile(np.arange(9), after.shape[1] // 9))
    assert np.abs(before["box_quality"] - after).max() > 1e-4


def test_outputs_are_float32_under_mixed_precision(make_tiny):
    model = make_tiny(box_quality="iou", dtype="mixed_bfloat16")
    outputs = model(np.zeros((1, 64, 64, 3), np.uint8))
    assert outputs["box_quality"].dtype == tf.float32
    assert model.get_layer("box_quality_predictions").compute_dtype == "bfloat16"


@pytest.mark.parametrize("kind", ["iou", "centerness"])
def test_files_keep_it(make_tiny, kind, settings, tmp_path):
    model = make_tiny(box_quality=kind, **settings)
    weights = [w + 0.01 for w in model.get_weights()]
    model.set_weights(weights)
    save_for_inference(model, tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    for load in (load_model, keras.models.load_model):
        copy = load(tmp_path / "model.keras")
        assert copy.box_quality == kind and copy.get_config() == model.get_config()
        for name, value in model(images).items():
            np.testing.assert_allclose(copy(images)[name], value, rtol=1e-6, err_msg=name)


def test_config_of_a_version_without_it(make_tiny):
    config = make_tiny().get_config()
    assert config.pop("box_quality") == "none" and config["inference"].pop("box_quality_share")
    model = RetinaNet.from_config(config)
    assert model.box_quality == "none" and len(model.output) == 2


def test_unknown_kind_is_refused(make_tiny):
    message = r"box_quality must be one of \('none', 'iou', 'centerness'\), not 'area'"
    with pytest.raises(ValueError, match=message):
        make_tiny(box_quality="area")


def test_logs_hold_three_parts(make_tiny, make_batch):
    model = make_tiny(box_quality="iou")
    model.compile("sgd", loss=DetectionLoss(box_quality_weight=0.5))
    logs = model.train_on_batch(*make_batch(model, (2, 1)), return_dict=True)
    assert logs.keys() == {"loss", "class_loss", "box_loss", "box_quality_loss"}
    total = logs["class_loss"] + logs["box_loss"] + logs["box_quality_loss"]
    np.testing.assert_allclose(logs["loss"], total, rtol=1e-6)
    assert 0.3 < logs["box_quality_loss"] < 0.4  # log 2 / 2: a fresh network says 0.5 everywhere


def test_compiled_steps_are_eager_ones(make_tiny, make_batch):
    logs = []
    for run_eagerly in (False, True):
        model = make_tiny(box_quality="iou")
        model.compile("sgd", loss=DetectionLoss(), run_eagerly=run_eagerly)
        logs.append(model.train_on_batch(*make_batch(model, (2, 1)), return_dict=True))
    for name, value in logs[0].items():
        np.testing.assert_allclose(logs[1][name], value, rtol=1e-5, err_msg=name)


BOXES = np.float32(
    [
        [[8, 8, 40, 40], [36, 36, 60, 60]],
        [[20, 4, 60, 44], [0] * 4],
        [[4, 30, 36, 62], [34, 6, 58, 30]],
    ]
)
LABELS = np.int32([[0, 1], [2, -1], [1, 0]])


@pytest.fixture
def coloured():
    """Three images of squares on grey, each in the colour of its class."""
    images = np.full((3, 64, 64, 3), 40, np.uint8)
    for image, boxes, labels in zip(images, BOXES.astype(int), LABELS, strict=True):
        for (x1, y1, x2, y2), label in zip(boxes, labels, strict=True):
            image[y1:y2, x1:x2, label] = 230
    return images


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("iou", DetectionLoss(box_loss=GIoULoss())),
        (
            "centerness",
            TaskAlignedDetectionLoss(
                box_loss=GIoULoss(), matching=TaskAlignedMatching(force_match=True)
            ),
        ),
    ],
)
def test_it_learns_and_detects(make_tiny, coloured, kind, loss):
    """Images by heart: where objects are, and what each box is worth."""
    policy = InputPolicy("square", size=64)
    model = make_tiny(box_quality=kind, prior=0.1, head_depth=1, input_policy=policy)
    match = partial(match_anchors, anchor_generator=model.anchor_generator, height=64, width=64)
    matches = [
        match(boxes[labels >= 0], tf.zeros((0, 4)), force_match=True)
        for boxes, labels in zip(BOXES, LABELS, strict=True)
    ]
    targets = {"gt_boxes": BOXES, "gt_labels": LABELS, "matches": np.stack(matches)}
    model.compile(keras.optimizers.Adam(4e-3), loss=loss)
    logs = [model.train_on_batch(coloured, targets, return_dict=True) for _ in range(80)]
    assert logs[-1]["loss"] < 0.5 * logs[0]["loss"]
    for found, boxes in zip(model.detect(list(coloured)), BOXES, strict=True):
        assert max(iou(found.boxes[0], box) for box in boxes) > 0.75 and found.scores[0] > 0.5
    if kind == "iou":
        assert quality_error(model, coloured, targets) < 0.15


def quality_error(model, images, targets):
    """How far the predicted IoU of the objects' anchors is from the true one, in the mean."""
    outputs = model(images)
    boxes = model.box_coder.decode(outputs["box_deltas"], model.anchor_generator(64, 64))
    errors = []
    for i, j in zip(*np.nonzero(targets["matches"] >= 0), strict=True):
        true = iou(np.asarray(boxes[i, j]), BOXES[i, targets["matches"][i, j]])
        errors.append(abs(true - 1 / (1 + np.exp(-outputs["box_quality"][i, j, 0]))))
    assert len(errors) > 20
    return np.mean(errors)


def iou(a, b):
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    areas = [np.prod(x[2:] - x[:2]) for x in (a, b)]
    return np.prod(sides) / (sum(areas) - np.prod(sides))
