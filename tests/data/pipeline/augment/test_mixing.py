import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.pipeline.augment.crop import large_scale_jitter
from keras_retinanet.data.pipeline.augment.mixing import blend, mixup, mosaic, natural_size
from keras_retinanet.data.pipeline.augment.visibility import ignore_cut_objects

HEIGHT, WIDTH = 64, 96
# Of the rectangles in the four cells: no blend of one with black or grey is another.
COLOURS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])


def mosaic_of(drawings, scale=(0.6, 1.0)):
    """A function: example of image i, seed -> mosaic of images i to i + 3 in COLOURS on black."""

    def run(example, seed):
        first = example["labels"][0]

        def tile(number, height, width):
            i = (first + number) % 200
            source = drawings.example(i)
            colour = tf.constant(250 * COLOURS[number], tf.uint8)
            image = tf.where(source["image"] > 100, colour, tf.constant(0, tf.uint8))
            source = {**source, "image": image}
            size = natural_size(image, HEIGHT, WIDTH)
            place = {"size": size, "height": height, "width": width}
            return large_scale_jitter(source, seed + number, scale=scale, **place)

        return mosaic(tile, seed, height=HEIGHT, width=WIDTH)

    return run


def test_every_object_of_a_mosaic_is_in_its_box(drawings, in_tf_data, count):
    seen, cells = 0, set()
    results = drawings.run(mosaic_of(drawings), in_tf_data=in_tf_data, count=count)
    for first, result in enumerate(results):
        assert result["image"].shape == (HEIGHT, WIDTH, 3) and result["image"].dtype == np.uint8
        bright = result["image"] > 125
        boxes = result["boxes"]
        assert (boxes >= 0).all() and (boxes <= (WIDTH, HEIGHT, WIDTH, HEIGHT)).all()
        for box, label in zip(boxes, result["labels"], strict=True):
            number = (label - first) % 200
            y, x = np.nonzero((bright == COLOURS[number].astype(bool)).all(axis=2))
            if min(box[2:] - box[:2]) < 2 and not len(x):
                continue
            extent = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            np.testing.assert_allclose(box, extent, atol=1)
            seen += 1
            cells.add(int(number))
    assert cells == {0, 1, 2, 3}
    assert seen > 2 * count


def test_the_four_cells_fill_the_canvas_and_meet_in_its_middle(drawings):
    def run(example, seed):
        def tile(number, height, width):
            grey = tf.fill(tf.stack([height, width, 3]), tf.cast(number + 1, tf.uint8))
            return {**example, "image": grey}

        return mosaic(tile, seed, height=HEIGHT, width=WIDTH)

    corners = set()
    for result in drawings.run(run, count=60):
        cells = result["image"][..., 0]
        assert cells[0, 0] == 1 and cells[0, -1] == 2 and cells[-1, 0] == 3 and cells[-1, -1] == 4
        top, left = (cells[:, 0] == 1).sum(), (cells[0] == 1).sum()
        rows = np.repeat([[1, 2], [3, 4]], [top, HEIGHT - top], axis=0)
        expected = np.repeat(rows, [left, WIDTH - left], axis=1)
        np.testing.assert_array_equal(cells, expected)
        assert 0.3 * HEIGHT - 1 <= top <= 0.7 * HEIGHT
        assert 0.3 * WIDTH - 1 <= left <= 0.7 * WIDTH
        corners.add((int(top), int(left)))
        moves = result["boxes"] - result["boxes"][0]
        np.testing.assert_allclose(
            moves[:, :2], [(0, 0), (left, 0), (0, top), (left, top)], atol=1e-4
        )
    assert len(corners) > 40


def test_mixup_is_the_weighted_mean_with_the_objects_of_both(drawings, in_tf_data, count):
    def run(example, seed):
        other = drawings.example((example["labels"][0] + 1) % 200)
        return mixup(example, other, seed, alpha=2.0)

    shares = []
    for i, result in enumerate(drawings.run(run, in_tf_data=in_tf_data, count=count)):
        j = (i + 1) % 200
        np.testing.assert_array_equal(result["boxes"], drawings.boxes[[i, j]])
        assert result["labels"].tolist() == [i, j]
        share = result["visible"][1]
        assert result["visible"][0] == pytest.approx(1 - share, abs=1e-6)
        expected = (1 - share) * drawings.images[i] + share * drawings.images[j]
        np.testing.assert_allclose(result["image"], expected, atol=0.51)
        shares.append(share)
    if in_tf_data:  # Beta(2, 2) has mean 1/2 and variance 1/20
        assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
        assert np.var(shares) == pytest.approx(0.05, abs=0.02)


def test_blending_with_itself_or_with_no_share_changes_nothing(drawings):
    one, other = tf.constant(drawings.images[0]), tf.constant(drawings.images[1])
    np.testing.assert_array_equal(blend(one, one, tf.constant(0.3)), one)
    np.testing.assert_array_equal(blend(one, other, tf.constant(0.0)), one)
    np.testing.assert_array_equal(blend(one, other, tf.constant(1.0)), other)


@pytest.mark.parametrize(
    ("size", "expected"), [((50, 100), (48, 96)), ((100, 50), (64, 32)), ((1, 500), (1, 96))]
)
def test_natural_size_fits_into_the_canvas(size, expected):
    found = natural_size(tf.zeros((*size, 3), tf.uint8), HEIGHT, WIDTH)
    assert tuple(found.numpy()) == expected


def test_objects_cut_below_the_share_are_ignored():
    example = {
        "image": tf.zeros((50, 50, 3), tf.uint8),
        "boxes": tf.constant([[0.0, 0, 10, 10]] * 4 + [[0, 0, 0.9, 20]]),
        "labels": tf.range(5),
        "is_ignored": tf.constant([False, False, False, True, False]),
        "visible": tf.constant([1.0, 0.29, 0.3, 1.0, 1.0]),
    }
    ignored = ignore_cut_objects(example, min_visible=0.3)["is_ignored"]
    assert ignored.numpy().tolist() == [False, True, False, True, True]
