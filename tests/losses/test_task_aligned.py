"""Task-aligned matching against loops in float64, and its edges."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.losses import DetectionLoss, FocalLoss
from keras_retinanet.losses.task_aligned import TaskAlignedDetectionLoss, TaskAlignedMatching

CODER = BoxCoder()
ANCHORS = np.asarray(AnchorGenerator(sizes=[16, 32, 64, 128, 256])(64, 64))


def iou_of(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, width) * max(0.0, height)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def by_loops(gt_boxes, gt_labels, logits, boxes, base, *, alpha, beta, candidates, force_match):
    """The paper's rule, object by object and anchor by anchor, in float64."""
    num_anchors = len(logits)
    centres = [((a[0] + a[2]) / 2, (a[1] + a[3]) / 2) for a in ANCHORS.astype(np.float64)]
    best_iou, match = np.full(num_anchors, -1.0), np.where(base == IGNORE, IGNORE, BACKGROUND)
    for j, (box, label) in enumerate(zip(gt_boxes.astype(np.float64), gt_labels)):
        if label < 0:
            continue
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        distance = [(x - middle[0]) ** 2 + (y - middle[1]) ** 2 for x, y in centres]
        found = []
        for a, (x, y) in enumerate(centres):
            is_inside = box[0] < x < box[2] and box[1] < y < box[3]
            if not is_inside and not (force_match and distance[a] <= min(distance)):
                continue
            overlap = iou_of(boxes[a].astype(np.float64), box)
            score = 1 / (1 + np.exp(-np.float64(logits[a, label])))
            alignment = score**alpha * overlap**beta
            if alignment > 0:
                found.append((-alignment, a, overlap))
        for _, a, overlap in sorted(found)[:candidates]:
            if overlap > best_iou[a]:
                best_iou[a], match[a] = overlap, j
    return match


@pytest.fixture
def example(rng, random_boxes):
    """Two images of 64 px: five objects and rows that fill up; boxes near their objects."""
    gt_boxes = random_boxes(rng, 14, 8.0, 40.0).reshape(2, 7, 4).astype(np.float32)
    gt_labels = rng.integers(0, 3, (2, 7)).astype(np.int32)
    gt_labels[0, 5:] = gt_labels[1, 3:] = -1
    near = gt_boxes[:, rng.integers(0, 3, len(ANCHORS))]
    boxes = np.where(rng.random((2, len(ANCHORS), 1)) < 0.5, near, ANCHORS)
    boxes = boxes + rng.normal(0, 1.5, boxes.shape)
    boxes[..., 2:] = np.maximum(boxes[..., 2:], boxes[..., :2] + 1)
    deltas = np.asarray(CODER.encode(boxes.astype(np.float32), ANCHORS))
    logits = rng.normal(-2, 2, (2, len(ANCHORS), 3)).astype(np.float32)
    base = rng.choice([BACKGROUND, IGNORE, 0], (2, len(ANCHORS)), p=[0.7, 0.2, 0.1])
    targets = {"gt_boxes": gt_boxes, "gt_labels": gt_labels, "matches": base.astype(np.int32)}
    return targets, {"class_logits": logits, "box_deltas": deltas.astype(np.float32)}


def found(matching, targets, outputs, *, compiled=False):
    def match():
        return matching(targets, outputs, anchors=tf.constant(ANCHORS), box_coder=CODER)

    return np.asarray((tf.function(match) if compiled else match)())


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"alpha": 0.5, "beta": 2.0, "candidates": 4},
        {"alpha": 0.0, "beta": 1.0, "candidates": 1},
        {"force_match": True},
        {"candidates": 100_000},
    ],
)
def test_it_is_the_papers_rule(example, settings, compiled):
    targets, outputs = example
    matching = TaskAlignedMatching(**settings)
    matches = found(matching, targets, outputs, compiled=compiled)
    boxes = np.asarray(CODER.decode(outputs["box_deltas"], ANCHORS))
    for i in range(2):
        arrays = (targets["gt_boxes"], targets["gt_labels"], outputs["class_logits"], boxes)
        expected = by_loops(
            *(array[i] for array in arrays), targets["matches"][i], **matching.get_config()
        )
        np.testing.assert_array_equal(matches[i], expected)
    assert (matches >= 0).sum() > 3 and (matches == IGNORE).any()
    assert matches.max() < 5  # no row that fills up


def test_a_graph_for_images_of_all_sizes(example):
    """Where the number of anchors is not known when the graph is made."""
    targets, outputs = example
    shapes = {"class_logits": (2, None, 3), "box_deltas": (2, None, 4)}

    @tf.function(
        input_signature=[
            {name: tf.TensorSpec(shape) for name, shape in shapes.items()},
            tf.TensorSpec((None, 4)),
        ],
        autograph=False,
    )
    def match(outputs, anchors):
        return TaskAlignedMatching()(targets, outputs, anchors=anchors, box_coder=CODER)

    expected = found(TaskAlignedMatching(), targets, outputs)
    np.testing.assert_array_equal(match(outputs, ANCHORS), expected)


def test_no_object_has_no_anchor(example):
    targets, outputs = example
    targets["gt_labels"][:] = -1
    matches = found(TaskAlignedMatching(), targets, outputs)
    np.testing.assert_array_equal(matches == IGNORE, targets["matches"] == IGNORE)
    assert (matches[matches != IGNORE] == BACKGROUND).all()


def test_boxes_far_away_are_no_candidates(example):
    targets, outputs = example
    outputs["box_deltas"][..., :2] = 50.0
    assert (found(TaskAlignedMatching(), targets, outputs) < 0).all()


def test_an_object_between_the_cells_has_anchors_if_it_is_forced_to():
    """3 px wide between the centres 8 of P4 and 12 of P3: none lies inside of it."""
    box = np.float32([[[8.5, 8.5, 11.5, 11.5]]])
    targets = {"gt_boxes": box, "gt_labels": np.int32([[0]])}
    targets["matches"] = np.full((1, len(ANCHORS)), BACKGROUND, np.int32)
    outputs = {
        "class_logits": np.zeros((1, len(ANCHORS), 1), np.float32),
        "box_deltas": np.zeros((1, len(ANCHORS), 4), np.float32),
    }
    assert (found(TaskAlignedMatching(), targets, outputs) < 0).all()
    forced = found(TaskAlignedMatching(force_match=True), targets, outputs)[0]
    centres = (ANCHORS[forced >= 0, :2] + ANCHORS[forced >= 0, 2:]) / 2
    assert len(centres) and set(np.unique(centres)) <= {8.0, 12.0}


def test_the_loss_is_that_of_the_matches(example):
    targets, outputs = example
    matching = TaskAlignedMatching(candidates=5)
    matches = found(matching, targets, outputs)
    options = {"anchors": ANCHORS, "box_coder": CODER}
    own = TaskAlignedDetectionLoss(matching=matching)(targets, outputs, **options)
    given = DetectionLoss()({**targets, "matches": matches}, outputs, **options)
    for name, value in given.items():
        assert float(own[name]) == pytest.approx(float(value), rel=1e-6)


def test_no_gradient_flows_through_the_matching(example):
    """The slope is that of the loss with the matches held fixed."""
    targets, outputs = example
    matching = TaskAlignedMatching()
    fixed = {**targets, "matches": found(matching, targets, outputs)}
    slopes = []
    own = TaskAlignedDetectionLoss(matching=matching)
    for loss, its_targets in ((own, targets), (DetectionLoss(), fixed)):
        variables = {name: tf.Variable(value) for name, value in outputs.items()}
        with tf.GradientTape() as tape:
            values = {name: variable + 0.0 for name, variable in variables.items()}
            parts = loss(its_targets, values, anchors=ANCHORS, box_coder=CODER)
            total = parts["class_loss"] + parts["box_loss"]
        slopes.append(tape.gradient(total, variables))
    for name, slope in slopes[0].items():
        np.testing.assert_allclose(slope, slopes[1][name], rtol=1e-6, atol=1e-9)


def test_it_is_saved_with_the_loss():
    matching = TaskAlignedMatching(0.5, 4.0, 9, force_match=True)
    loss = TaskAlignedDetectionLoss(
        matching=matching, class_loss=FocalLoss(gamma=1.0), box_weight=3
    )
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(copy) is TaskAlignedDetectionLoss
    assert copy.matching.get_config() == matching.get_config()
    assert copy.class_loss.get_config() == loss.class_loss.get_config() and copy.box_weight == 3
    assert TaskAlignedDetectionLoss().matching.get_config() == TaskAlignedMatching().get_config()


@pytest.mark.parametrize("settings", [{"alpha": -1}, {"beta": -0.1}, {"candidates": 0}])
def test_settings_without_sense(settings):
    with pytest.raises(ValueError, match="must not be negative, and candidates at least 1"):
        TaskAlignedMatching(**settings)
