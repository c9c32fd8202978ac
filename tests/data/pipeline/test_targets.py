"""`make_targets`: in eager code, in anyone's tf.data map, and as the loss takes it."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.data.pipeline.targets import NO_LABEL, make_targets
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.atss import match_atss
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.losses import DetectionLoss

ANCHORS = AnchorGenerator(levels=(3, 5), sizes=(24, 64), ratios=(1.0,), scales=(1.0,))
SIDES = {"height": 64, "width": 96}
# An anchor of P3, cell (3, 5): centre (44, 28), side 24; and one of P5, cell (0, 1): (48, 16), 64.
BOXES = np.array([[32, 16, 56, 40], [16, -16, 80, 48], [0, 0, 5, 5]], np.float32)
LABELS = np.array([2, 0, 1])
FIRST, SECOND = 3 * 12 + 5, 8 * 12 + 1


def targets_of(boxes=BOXES, labels=LABELS, *, max_objects=4, **options):
    return make_targets(
        boxes, labels, anchor_generator=ANCHORS, max_objects=max_objects, **SIDES, **options
    )


def test_objects_are_filled_up_and_anchors_matched():
    targets = {name: value.numpy() for name, value in targets_of().items()}
    assert targets["gt_boxes"].dtype == np.float32 and targets["gt_labels"].dtype == np.int32
    np.testing.assert_array_equal(targets["gt_boxes"], [*BOXES, [0, 0, 0, 0]])
    assert targets["gt_labels"].tolist() == [2, 0, 1, NO_LABEL]
    assert len(targets["matches"]) == 8 * 12 + 2 * 3 == len(ANCHORS(64, 96))
    assert (targets["matches"][FIRST], targets["matches"][SECOND]) == (0, 1)


def test_ignored_regions_are_no_objects_and_no_background():
    targets = targets_of(is_ignored=[True, False, False])
    assert targets["gt_labels"].numpy().tolist() == [0, 1, NO_LABEL, NO_LABEL]
    assert (targets["matches"][FIRST], targets["matches"][SECOND]) == (IGNORE, 0)


def test_lists_and_no_objects_will_do():
    targets = targets_of(np.zeros((0, 4)), [])
    assert (targets["matches"].numpy() == BACKGROUND).all()
    assert targets["gt_labels"].numpy().tolist() == [NO_LABEL] * 4
    as_lists = targets_of(BOXES.tolist(), LABELS.tolist())
    for name, value in targets_of().items():
        np.testing.assert_array_equal(as_lists[name], value)


def test_thresholds_are_those_of_matching():
    # The small third object has no anchor of its own, unless it is given its best.
    assert 2 not in targets_of()["matches"]
    assert 2 in targets_of(force_match=True)["matches"]
    strict = targets_of(BOXES + np.float32([0, 0, 6, 0]), positive_iou=0.9)
    assert strict["matches"][FIRST] == IGNORE


@pytest.mark.parametrize("in_tf_data", [False, True])
def test_another_matching_takes_the_place_of_the_thresholds(in_tf_data):
    """With its own settings, and with the ignored regions."""
    matching = functools.partial(match_atss, force_match=True)
    flags = tf.constant([False, True, False])
    data = tf.data.Dataset.from_tensors((BOXES, LABELS, flags)).map(
        lambda b, n, i: targets_of(b, n, is_ignored=i, matching=matching, positive_iou=0.9)
    )
    found = targets_of(is_ignored=flags, matching=matching)
    found = next(iter(data)) if in_tf_data else found
    regions = BOXES[1:2]
    expected = match_atss(
        BOXES[::2], regions, anchor_generator=ANCHORS, force_match=True, **SIDES
    ).numpy()
    np.testing.assert_array_equal(found["matches"], expected)
    assert set(expected) == {0, 1, IGNORE, BACKGROUND}


def test_too_many_objects_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than max_objects = 2"):
        targets_of(max_objects=2)


def test_in_ones_own_tf_data_map():
    """Batches that the loss takes, of any number of objects; the same as eagerly."""
    counts = [3, 0, 1]

    def examples():
        for count in counts:
            yield {"boxes": BOXES[:count], "labels": LABELS[:count]}

    spec = {"boxes": tf.TensorSpec((None, 4)), "labels": tf.TensorSpec((None,), tf.int64)}
    stream = tf.data.Dataset.from_generator(examples, output_signature=spec)
    only_exact = {"positive_iou": 0.6}
    stream = stream.map(lambda e: targets_of(e["boxes"], e["labels"], **only_exact)).batch(3)
    (batch,) = stream.as_numpy_iterator()
    for i, count in enumerate(counts):
        for name, value in targets_of(BOXES[:count], LABELS[:count], **only_exact).items():
            np.testing.assert_array_equal(batch[name][i], value, err_msg=name)
    assert stream.element_spec["gt_boxes"].shape == (None, 4, 4)
    anchors = ANCHORS(64, 96)
    outputs = {
        "class_logits": tf.zeros((3, len(anchors), 3)),
        "box_deltas": tf.zeros((3, len(anchors), 4)),
    }
    losses = DetectionLoss()(batch, outputs, anchors=anchors, box_coder=BoxCoder())
    assert losses["class_loss"] > 0 and np.isfinite(losses["class_loss"])
    assert losses["box_loss"] == 0  # the objects are where their anchors are
