import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import PAD_VALUE
from keras_retinanet.data.pipeline.augment.crop import crop, large_scale_jitter, random_crop

HEIGHT, WIDTH = 48, 64
CANVAS = {"size": tf.constant([54, 72]), "height": 64, "width": 96}


def jitter(low, high):
    return lambda e, seed: large_scale_jitter(e, seed, scale=(low, high), **CANVAS)


@pytest.mark.parametrize("limits", [(0.5, 1.0), (1.0, 2.0), (0.3, 1.6)])
def test_boxes_stay_on_their_objects_under_scale_jitter(drawings, in_tf_data, count, limits):
    results = drawings.run(jitter(*limits), in_tf_data=in_tf_data, count=count)
    assert {r["image"].shape for r in results} == {(64, 96, 3)}
    assert drawings.check(results) > 0.7 * count


def test_boxes_stay_on_their_objects_under_ssd_crops(drawings, in_tf_data, count):
    results = drawings.run(random_crop, in_tf_data=in_tf_data, count=count)
    assert drawings.check(results, tolerance=0) > 0.7 * count
    shapes = {r["image"].shape[:2] for r in results}
    assert len(shapes) > 0.5 * count
    assert max(max(h / w, w / h) for h, w in shapes) <= 2


def test_visible_is_the_share_that_was_not_cut_off(drawings):
    results = drawings.run(random_crop)
    for i, result in enumerate(results):
        for box, visible in zip(result["boxes"], result["visible"], strict=True):
            area = np.prod(box[2:] - box[:2]) / np.prod(
                drawings.boxes[i, 2:] - drawings.boxes[i, :2]
            )
            assert visible == pytest.approx(area, abs=1e-5)
    shares = np.concatenate([r["visible"] for r in results])
    assert (shares < 0.9).any() and (shares == 1).any()


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_ssd_crops_have_the_overlap_that_was_drawn(drawings, threshold, monkeypatch):
    """An object as large as the image has with a window the IoU of their areas."""
    monkeypatch.setattr("keras_retinanet.data.pipeline.augment.crop.SSD_MIN_IOUS", (threshold,))

    def run(example, seed):
        boxes = tf.constant([[0.0, 0.0, WIDTH, HEIGHT]])
        return random_crop({**example, "boxes": boxes}, seed)

    shares = [r["image"].size / (HEIGHT * WIDTH * 3) for r in drawings.run(run, count=60)]
    assert threshold <= min(shares) < threshold + 0.15
    assert len(set(shares)) > 30


def test_an_image_is_left_whole_if_no_window_will_do(drawings, monkeypatch):
    monkeypatch.setattr("keras_retinanet.data.pipeline.augment.crop.SSD_MIN_IOUS", (0.9,))
    for i, result in enumerate(drawings.run(random_crop, count=20)):
        np.testing.assert_array_equal(result["image"], drawings.images[i])
        np.testing.assert_array_equal(result["boxes"], drawings.boxes[i : i + 1])


def test_crowds_do_not_choose_the_window(drawings, monkeypatch):
    monkeypatch.setattr("keras_retinanet.data.pipeline.augment.crop.SSD_MIN_IOUS", (0.9,))

    def run(example, seed):
        return random_crop({**example, "is_ignored": tf.constant([True])}, seed)

    shapes = {r["image"].shape for r in drawings.run(run, count=20)}
    assert len(shapes) > 15  # as without objects, where any window will do


def test_an_object_outside_the_window_is_dropped_with_all_of_its_entries(drawings):
    example = {
        "image": tf.zeros((20, 20, 3), tf.uint8),
        "boxes": tf.constant([[0.0, 0, 5, 5], [8, 8, 18, 18], [5, 5, 11, 10]]),
        "labels": tf.constant([1, 2, 3]),
        "is_ignored": tf.constant([True, False, True]),
        "visible": tf.constant([1.0, 0.5, 1.0]),
        "name": tf.constant("kept"),
    }
    result = crop(example, 5, 10, 10, 10)
    np.testing.assert_array_equal(result["boxes"], [[0, 3, 8, 10], [0, 0, 1, 5]])
    assert result["labels"].numpy().tolist() == [2, 3]
    assert result["is_ignored"].numpy().tolist() == [False, True]
    np.testing.assert_allclose(result["visible"], [0.5 * 56 / 100, 5 / 30])
    assert result["name"] == b"kept"


def test_a_scale_of_one_fits_the_image_to_the_canvas(drawings):
    for i, result in enumerate(drawings.run(jitter(1.0, 1.0), count=10)):
        resized = tf.image.resize(drawings.images[i], (54, 72)).numpy()
        np.testing.assert_allclose(result["image"][:54, :72], resized, atol=0.51)
        assert (result["image"][54:] == PAD_VALUE).all()
        assert (result["image"][:, 72:] == PAD_VALUE).all()
        np.testing.assert_allclose(result["boxes"], drawings.boxes[i : i + 1] * 1.125, atol=1e-4)


def test_what_is_larger_than_the_canvas_is_cropped_at_random_places(drawings):
    results = drawings.run(jitter(1.5, 1.5))
    scale = 1.5 * 54 / 48
    corners = [  # of the window, from where the rectangle is uncut
        drawings.boxes[i, :2] * scale - r["boxes"][0, :2]
        for i, r in enumerate(results)
        if len(r["boxes"]) and r["visible"][0] > 0.999
    ]
    x, y = np.array(corners).T
    assert -1 < x.min() < 2 and 108 - 96 - 2 < x.max() < 108 - 96 + 1
    assert -1 < y.min() < 2 and 81 - 64 - 2 < y.max() < 81 - 64 + 1


def test_one_seed_gives_one_result(drawings):
    for function in (random_crop, jitter(0.3, 1.6)):
        eager = drawings.run(function, in_tf_data=False, count=5)
        for a, b in zip(eager, drawings.run(function, count=5), strict=True):
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])
