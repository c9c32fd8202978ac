import math

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import PAD_VALUE
from keras_retinanet.data.pipeline.augment.affine import random_affine, transform, transform_boxes

HEIGHT, WIDTH = 48, 64
CANVAS = {"size": tf.constant([HEIGHT, WIDTH]), "height": 64, "width": 96}


def affine(**settings):
    return lambda e, seed: random_affine(e, seed, **{**CANVAS, **settings})


ALL = {"rotate": 30.0, "shear": 15.0, "translate": 0.3, "scale": (0.7, 1.6)}


@pytest.mark.parametrize("settings", [{"translate": 0.4}, {"scale": (0.5, 1.5)}, {"rotate": 180.0}])
def test_single_changes(drawings, settings):
    """Of a turned rectangle that is cut, less may be seen than the box of its extent holds."""
    results = drawings.run(affine(**settings, height=192, width=192), count=60)
    assert {r["image"].shape for r in results} == {(192, 192, 3)}
    check_uncut(drawings, results, at_least=10)


def check_uncut(drawings, results, at_least):
    whole = [i for i, r in enumerate(results) if len(r["boxes"]) and r["visible"][0] > 0.9999]
    assert len(whole) >= at_least
    for i in whole:
        extent = drawings.extent(results[i]["image"])
        np.testing.assert_allclose(results[i]["boxes"], [extent], atol=1)
        assert results[i]["labels"] == [i]


def test_boxes_are_the_extents_of_turned_objects(drawings, in_tf_data, count):

    # The canvas is large and the image in its middle, so that nothing is cut.
    def run(example, seed):
        padded = tf.pad(example["image"], [[80, 80], [80, 80], [0, 0]], constant_values=20)
        example = {**example, "image": padded, "boxes": example["boxes"] + 80.0}
        size = tf.constant([208, 224])
        return random_affine(example, seed, **ALL, size=size, height=240, width=260)

    results = drawings.run(run, in_tf_data=in_tf_data, count=count)
    check_uncut(drawings, results, at_least=0.8 * count)


def test_cut_objects_stay_within_their_boxes_and_the_image(drawings):
    cut = 0
    for result in drawings.run(affine(**ALL)):
        boxes, extent = result["boxes"], drawings.extent(result["image"])
        assert np.isfinite(boxes).all() and (boxes >= 0).all()
        assert (boxes <= (96, 64, 96, 64)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (result["visible"] <= 1.0001).all() and (result["visible"] > 0).all()
        if extent is not None:
            (box,) = boxes
            assert (box[:2] <= np.add(extent[:2], 1)).all()
            assert (box[2:] >= np.subtract(extent[2:], 1)).all()
            cut += result["visible"][0] < 0.99
    assert cut > 10


def test_nothing_changes_without_strength(drawings):
    for i, result in enumerate(drawings.run(affine(), count=20)):
        np.testing.assert_array_equal(result["image"][:HEIGHT, :WIDTH], drawings.images[i])
        assert (result["image"][HEIGHT:] == PAD_VALUE).all()
        assert (result["image"][:, WIDTH:] == PAD_VALUE).all()
        np.testing.assert_allclose(result["boxes"], drawings.boxes[i : i + 1], atol=1e-4)
        np.testing.assert_allclose(result["visible"], 1, atol=1e-5)


def test_an_image_wholly_outside_is_padding(drawings):
    example = drawings.example(0)
    moved = transform(example, tf.eye(2), tf.constant([500.0, 0.0]), height=32, width=40)
    assert (moved["image"].numpy() == PAD_VALUE).all()
    assert moved["image"].shape == (32, 40, 3)
    assert moved["boxes"].shape == (0, 4) and moved["labels"].shape == (0,)


def test_a_quarter_turn_moves_pixels_exactly(drawings):
    example = drawings.example(3)
    turn, offset = tf.constant([[0.0, -1.0], [1.0, 0.0]]), tf.constant([float(HEIGHT), 0.0])
    turned = transform(example, turn, offset, height=WIDTH, width=HEIGHT)
    np.testing.assert_array_equal(turned["image"], np.rot90(drawings.images[3], -1))
    x1, y1, x2, y2 = drawings.boxes[3]
    np.testing.assert_allclose(turned["boxes"], [[HEIGHT - y2, x1, HEIGHT - y1, x2]], atol=1e-4)


def test_extents_in_float64():
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.uniform(0, 100, (50, 2, 2)), axis=1).reshape(50, 4)
    linear, offset = rng.normal(size=(2, 2)), rng.normal(size=2)
    moved = transform_boxes(*(tf.constant(v, tf.float32) for v in (boxes, linear, offset)))
    for box, found in zip(boxes, moved.numpy(), strict=True):
        x1, y1, x2, y2 = box
        points = [linear @ p + offset for p in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
        expected = np.concatenate([np.min(points, axis=0), np.max(points, axis=0)])
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_angles_reach_their_limits_and_no_further():
    """A long thin line tells its angle by the sides of its extent."""
    example = {
        "image": tf.zeros((100, 100, 3), tf.uint8),
        "boxes": tf.constant([[10.0, 50.0, 90.0, 50.001]]),
        "labels": tf.constant([0]),
        "is_ignored": tf.constant([False]),
        "visible": tf.constant([1.0]),
    }

    def run(i):
        place = {"size": tf.constant([100, 100]), "height": 100, "width": 100}
        return random_affine(example, tf.stack([i, 1]), **place, rotate=20.0)["boxes"][0]

    boxes = list(tf.data.Dataset.range(100).map(run).as_numpy_iterator())
    angles = [math.degrees(math.atan2(b[3] - b[1], b[2] - b[0])) for b in boxes]
    assert 18 < max(angles) <= 20.01
    assert min(angles) < 2


def test_one_seed_gives_one_result(drawings):
    eager = drawings.run(affine(**ALL), in_tf_data=False, count=5)
    for a, b in zip(eager, drawings.run(affine(**ALL), count=5), strict=True):
        for name in a:
            np.testing.assert_allclose(a[name], b[name], atol=1)
