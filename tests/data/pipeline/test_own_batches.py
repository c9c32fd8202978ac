"""A tf.data.Dataset of one's own: matched as the pipeline does, or told what it lacks."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.pipeline.own_batches import refuse_endless, with_matches
from keras_retinanet.data.pipeline.targets import make_targets
from keras_retinanet.geometry.anchors import AnchorGenerator

ANCHORS = AnchorGenerator()


def images(number=2):
    return np.zeros((number, 64, 96, 3), np.uint8)


def test_matches_are_those_of_make_targets_whichever_rows_fill_up():
    boxes = np.float32([[0, 0, 0, 0], [4, 4, 40, 40], [0, 0, 0, 0], [50, 10, 90, 60]])
    labels = np.array([-1, 2, -1, 0], np.int64)
    targets = {"gt_boxes": boxes[None], "gt_labels": labels[None], "mine": [7]}
    data = tf.data.Dataset.from_tensors((images(1), targets, [0.5]))
    ((_, found, weights),) = with_matches(data, None, ANCHORS)
    expected = make_targets(
        boxes[[1, 3]],
        labels[[1, 3]],
        anchor_generator=ANCHORS,
        height=64,
        width=96,
        max_objects=2,
    )["matches"].numpy()
    rows = np.array([1, 3])
    assert (expected >= 0).any()
    expected = np.where(expected >= 0, rows[np.maximum(expected, 0)], expected)
    np.testing.assert_array_equal(found["matches"][0], expected)
    assert found["mine"] == 7 and weights == 0.5


def test_an_image_without_objects_has_no_matches():
    targets = {"gt_boxes": np.zeros((1, 0, 4), np.float32), "gt_labels": np.zeros((1, 0), np.int32)}
    ((_, found),) = with_matches(tf.data.Dataset.from_tensors((images(1), targets)), None, ANCHORS)
    assert (found["matches"].numpy() == -1).all()


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (images(), "fit takes batches"),
        ((images(), np.zeros((2, 3))), "fit takes batches"),
        ((images()[0], {"gt_boxes": [[0.0] * 4], "gt_labels": [0]}), "give fit batches, data.ba"),
        ((images(), {"boxes": [[0.0] * 4]}), "need gt_boxes and gt_labels, got boxes: make them"),
    ],
)
def test_what_lacks_is_told(example, message):
    with pytest.raises(ValueError, match=message):
        with_matches(tf.data.Dataset.from_tensors(example), None, ANCHORS)


def test_arrays_with_targets_without_matches_are_told():
    with pytest.raises(ValueError, match="need matches beside gt_boxes: make them"):
        with_matches(images(), {"gt_boxes": []}, ANCHORS)


def test_a_stream_that_ends_is_taken():
    refuse_endless(tf.data.Dataset.range(3), None)
    refuse_endless(tf.data.Dataset.range(3).repeat(), 3)
    refuse_endless(images(), None)
