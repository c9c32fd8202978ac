"""Random images of one filled rectangle on a plain background, and where the rectangle came to."""

import numpy as np
import pytest
import tensorflow as tf

COUNT = 200
HEIGHT, WIDTH = 48, 64
BACKGROUND, COLOUR = 20, 250
PIXEL_IS_OBJECT = (BACKGROUND + COLOUR) / 2


class Drawings:
    """200 images [48, 64, 3] with one rectangle each; its label is the image's number."""

    def __init__(self):
        rng = np.random.default_rng(0)
        sides = rng.integers(10, 30, (COUNT, 2))
        corner = (rng.random((COUNT, 2)) * ((WIDTH, HEIGHT) - sides + 1)).astype(int)
        self.boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
        self.images = np.full((COUNT, HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
        for image, (x1, y1, x2, y2) in zip(self.images, self.boxes.astype(int), strict=True):
            image[y1:y2, x1:x2] = COLOUR
        self.seeds = rng.integers(0, 2**31, (COUNT, 2)).astype(np.int32)

    def example(self, i):
        """An example of image i, which may be a tensor."""
        return {
            "image": tf.gather(self.images, i),
            "boxes": tf.gather(self.boxes, i)[None],
            "labels": tf.cast(i, tf.int32)[None],
            "is_ignored": tf.constant([False]),
            "visible": tf.constant([1.0]),
        }

    def run(self, function, *, in_tf_data=True, count=COUNT):
        """The results of function(example, seed) on the images, as NumPy arrays."""
        if in_tf_data:
            dataset = tf.data.Dataset.range(count).map(
                lambda i: function(self.example(i), tf.gather(self.seeds, i)),
                num_parallel_calls=2,
            )
            return list(dataset.as_numpy_iterator())
        results = (function(self.example(i), tf.constant(self.seeds[i])) for i in range(count))
        return [{name: value.numpy() for name, value in e.items()} for e in results]

    @staticmethod
    def extent(image):
        """The rectangle's box as the pixels show it, or None."""
        y, x = np.nonzero(image.mean(axis=2) > PIXEL_IS_OBJECT)
        return [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else None

    def check(self, results, *, tolerance=1.0):
        """Every box holds its rectangle as closely as the pixels; returns how many were seen."""
        seen = 0
        for i, result in enumerate(results):
            image, boxes = result["image"], result["boxes"]
            assert image.dtype == np.uint8
            assert np.isfinite(boxes).all()
            assert (boxes >= 0).all()
            assert (boxes <= np.tile(image.shape[1::-1], 2)).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert result["labels"].tolist() == [i] * len(boxes)
            assert len(result["visible"]) == len(result["is_ignored"]) == len(boxes) <= 1
            extent = self.extent(image)
            if extent is None:  # at most a sliver is left
                assert (np.min(boxes[:, 2:] - boxes[:, :2], axis=1) < tolerance).all()
            else:
                np.testing.assert_allclose(boxes, [extent], atol=tolerance)
                seen += 1
        return seen


@pytest.fixture(scope="session")
def drawings():
    return Drawings()


@pytest.fixture(
    params=["in tf.data", "eagerly", pytest.param("all eagerly", marks=pytest.mark.slow)]
)
def way(request):
    return request.param


@pytest.fixture
def in_tf_data(way):
    return way == "in tf.data"


@pytest.fixture
def count(way):
    """Of how many images; eagerly, each takes milliseconds for every operation."""
    return 30 if way == "eagerly" else COUNT
