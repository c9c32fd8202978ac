import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import PAD_VALUE
from keras_retinanet.data.pipeline.augment.cutout import cover, random_cutout


def cut(count=1, size=0.5):
    return lambda e, seed: random_cutout(e, seed, count=count, size=size)


def test_one_rectangle_is_put_over_the_image_and_boxes_stay(drawings, in_tf_data, count):
    seen = 0
    for i, result in enumerate(drawings.run(cut(), in_tf_data=in_tf_data, count=count)):
        image, original = result["image"], drawings.images[i]
        assert image.dtype == np.uint8 and image.shape == original.shape
        np.testing.assert_array_equal(result["boxes"], drawings.boxes[i : i + 1])
        assert result["labels"] == [i]
        covered = (image == PAD_VALUE).all(axis=2)
        np.testing.assert_array_equal(image[~covered], original[~covered])
        rows, columns = covered.any(axis=1), covered.any(axis=0)
        np.testing.assert_array_equal(covered, np.outer(rows, columns))  # a full rectangle
        assert rows.sum() <= 25 and columns.sum() <= 33
        x1, y1, x2, y2 = drawings.boxes[i].astype(int)
        left = 1 - covered[y1:y2, x1:x2].mean()
        assert result["visible"][0] == pytest.approx(left, abs=1e-5)
        seen += left < 0.9
    assert seen > 0.1 * count


def test_visible_is_never_more_than_what_several_rectangles_leave(drawings):
    for i, result in enumerate(drawings.run(cut(count=4), count=60)):
        x1, y1, x2, y2 = drawings.boxes[i].astype(int)
        covered = (result["image"] == PAD_VALUE).all(axis=2)[y1:y2, x1:x2]
        assert 0 <= result["visible"][0] <= 1 - covered.mean() + 1e-5


def test_nothing_changes_without_size(drawings):
    for i, result in enumerate(drawings.run(cut(size=0.0), count=20)):
        np.testing.assert_array_equal(result["image"], drawings.images[i])
        assert result["visible"] == [1]


def test_cover_fills_whole_pixels():
    image = np.zeros((6, 8, 3), np.uint8)
    covered = cover(tf.constant(image), tf.constant([[1.0, 2, 4, 3], [7, 0, 8, 6]])).numpy()
    expected = image.copy()
    expected[2:3, 1:4] = expected[0:6, 7:8] = PAD_VALUE
    np.testing.assert_array_equal(covered, expected)


def test_an_image_without_objects(drawings):
    example = drawings.example(0)
    empty = {name: example[name][:0] for name in ("boxes", "labels", "is_ignored", "visible")}
    result = random_cutout({**example, **empty}, tf.constant([1, 2]), count=2, size=0.5)
    assert result["visible"].shape == (0,)


def test_one_seed_gives_one_result(drawings):
    eager = drawings.run(cut(count=2), in_tf_data=False, count=6)
    for a, b in zip(eager, drawings.run(cut(count=2), count=6), strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    assert len({e["image"].tobytes() for e in eager}) == 6
