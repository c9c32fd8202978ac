"""The loss of the boxes' quality against loops in float64: targets, normalisers, gradients."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.losses import DetectionLoss, GIoULoss, QualityFocalLoss, SoftmaxFocalLoss
from keras_retinanet.losses.task_aligned import TaskAlignedDetectionLoss

NUM_ANCHORS, NUM_CLASSES = 40, 3
CODER = BoxCoder(variances=(0.1, 0.1, 0.2, 0.2))
KINDS = ("iou", "centerness")


@pytest.fixture
def anchors(rng, random_boxes):
    return random_boxes(rng, NUM_ANCHORS, 8.0, 40.0)


@pytest.fixture
def targets(rng, anchors):
    """Of 3 images with 4, 0 and 2 objects, each near the anchors that are to find it."""
    counts = np.array([4, 0, 2])
    gt_boxes = np.zeros((3, 4, 4), np.float32)
    matches = rng.integers(IGNORE, np.maximum(counts, 0)[:, None], (3, NUM_ANCHORS))
    for i, count in enumerate(counts):
        gt_boxes[i, :count] = anchors[:count] + rng.normal(0, 3, (count, 4))
        matches[i, :count] = np.arange(count)
    labels = np.where(np.arange(4) < counts[:, None], rng.integers(0, NUM_CLASSES, (3, 4)), -1)
    return {
        "gt_boxes": gt_boxes,
        "gt_labels": labels.astype(np.int32),
        "matches": matches.astype(np.int32),
    }


@pytest.fixture
def outputs(rng, targets, anchors):
    """Of 3 images; boxes near their objects, or anywhere; quality whose sigmoid is 0 or 1, too."""
    boxes = np.take_along_axis(
        targets["gt_boxes"], np.maximum(targets["matches"], 0)[..., None], axis=1
    )
    boxes = np.where((targets["matches"] >= 0)[..., None], boxes, anchors)
    boxes = boxes + rng.normal(0, 2, boxes.shape)
    boxes[..., 2:] = np.maximum(boxes[..., 2:], boxes[..., :2] + 1)
    deltas = np.asarray(CODER.encode(boxes.astype(np.float32), anchors))
    anywhere = rng.normal(0, 2, deltas.shape).astype(np.float32)
    quality = rng.normal(0, 2, (3, NUM_ANCHORS, 1))
    quality[:, ::7] *= 20
    return {
        "class_logits": rng.normal(-2, 1, (3, NUM_ANCHORS, NUM_CLASSES)).astype(np.float32),
        "box_deltas": np.where(rng.random((3, NUM_ANCHORS, 1)) < 0.3, anywhere, deltas),
        "box_quality": quality.astype(np.float32),
    }


def target_in_float64(kind, box, anchor, deltas):
    """IoU of the decoded box, or eq. 3 of FCOS, with its distances to the four sides."""
    x1, y1, x2, y2 = box
    ax1, ay1, ax2, ay2 = anchor
    if kind == "centerness":
        x, y = (ax1 + ax2) / 2, (ay1 + ay2) / 2
        left, top, right, bottom = x - x1, y - y1, x2 - x, y2 - y
        if min(left, top, right, bottom) <= 0:
            return 0.0
        return math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))
    dx, dy, dw, dh = deltas * np.array(CODER.variances)
    w, h = ax2 - ax1, ay2 - ay1
    cx, cy = (ax1 + ax2) / 2 + dx * w, (ay1 + ay2) / 2 + dy * h
    w, h = w * math.exp(dw), h * math.exp(dh)
    common = max(0, min(x2, cx + w / 2) - max(x1, cx - w / 2))
    common *= max(0, min(y2, cy + h / 2) - max(y1, cy - h / 2))
    return common / (w * h + (x2 - x1) * (y2 - y1) - common)


def loss_by_loops(kind, targets, outputs, anchors, normalizer):
    matches = targets["matches"]
    total, all_targets = 0.0, []
    for i, j in np.ndindex(matches.shape):
        if matches[i, j] < 0:
            continue
        box, deltas = targets["gt_boxes"][i, matches[i, j]], outputs["box_deltas"][i, j]
        y = target_in_float64(kind, np.float64(box), np.float64(anchors[j]), np.float64(deltas))
        x = float(outputs["box_quality"][i, j, 0])
        log_p, log_rest = (-np.logaddexp(0, -x), -np.logaddexp(0, x))
        num = max((matches[i] >= 0).sum(), 1) * len(matches)
        num = num if normalizer == "per_image" else (matches >= 0).sum()
        total -= (y * log_p + (1 - y) * log_rest) / num
        all_targets.append(y)
    return total, all_targets


def measured(loss, targets, outputs, anchors, **options):
    return loss(targets, outputs, anchors=tf.constant(anchors), box_coder=CODER, **options)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("normalizer", ["global", "per_image"])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_loops(kind, normalizer, compiled, targets, outputs, anchors):
    loss = DetectionLoss(normalizer=normalizer, box_quality_weight=3.0)

    def measure():
        return measured(loss, targets, outputs, anchors, box_quality=kind)

    found = (tf.function(measure, autograph=False) if compiled else measure)()
    expected, all_targets = loss_by_loops(kind, targets, outputs, anchors, normalizer)
    np.testing.assert_allclose(found["box_quality_loss"], 3.0 * expected, rtol=2e-5)
    # Neither all nothing nor all perfect.
    assert len(all_targets) > 20 and np.std(all_targets) > 0.1 and max(all_targets) > 0.5
    # The other parts are those of a model without it.
    without = measured(DetectionLoss(normalizer=normalizer), targets, outputs, anchors)
    assert without.keys() == {"class_loss", "box_loss"}
    for name, value in without.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_that_of_positives_alone(kind, targets, outputs, anchors):
    """p - y over the positives for the quality; none for the boxes, whose target would move."""
    outputs = {name: tf.constant(value) for name, value in outputs.items()}
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        found = measured(DetectionLoss(), targets, outputs, anchors, box_quality=kind)
        loss = found["box_quality_loss"]
    gradients = tape.gradient(loss, outputs)
    assert gradients["box_deltas"] is None and gradients["class_logits"] is None
    matches = targets["matches"]
    expected = np.zeros(matches.shape)
    for i, j in zip(*np.nonzero(matches >= 0), strict=True):
        box, deltas = targets["gt_boxes"][i, matches[i, j]], outputs["box_deltas"][i, j].numpy()
        y = target_in_float64(kind, np.float64(box), np.float64(anchors[j]), np.float64(deltas))
        p = 1 / (1 + np.exp(-np.float64(outputs["box_quality"][i, j, 0])))
        expected[i, j] = (p - y) / (matches >= 0).sum()
    np.testing.assert_allclose(gradients["box_quality"][..., 0], expected, atol=1e-6)
    assert (matches == IGNORE).any() and (matches == BACKGROUND).any()


def test_no_objects_have_no_loss(targets, outputs, anchors):
    targets["matches"][:] = BACKGROUND
    for kind in KINDS:
        found = measured(DetectionLoss(), targets, outputs, anchors, box_quality=kind)
        assert found["box_quality_loss"] == 0


def test_matching_by_outputs_gives_the_anchors(targets, outputs, anchors):
    """The quality's positives are those that the loss matched, not those of the targets."""
    targets["gt_boxes"][:] = np.float32([10, 10, 40, 40])
    loss = TaskAlignedDetectionLoss(box_loss=GIoULoss())
    matches = loss.matching(targets, outputs, anchors=tf.constant(anchors), box_coder=CODER).numpy()
    assert (matches >= 0).any() and (matches != targets["matches"]).any()
    found = measured(loss, targets, outputs, anchors, box_quality="iou")
    expected, _ = loss_by_loops("iou", {**targets, "matches": matches}, outputs, anchors, "global")
    np.testing.assert_allclose(found["box_quality_loss"], expected, rtol=2e-5)


@pytest.mark.parametrize("class_loss", [SoftmaxFocalLoss(), QualityFocalLoss()])
def test_it_is_the_same_with_any_class_loss(class_loss, targets, outputs, anchors):
    found, plain = (
        measured(loss, targets, outputs, anchors, box_quality="iou")["box_quality_loss"]
        for loss in (DetectionLoss(class_loss), DetectionLoss())
    )
    np.testing.assert_allclose(found, plain, rtol=1e-6)


def test_unknown_quality_is_refused(targets, outputs, anchors):
    with pytest.raises(ValueError, match="box_quality must be 'iou' or 'centerness', not 'area'"):
        measured(DetectionLoss(), targets, outputs, anchors, box_quality="area")
