"""Several images in one: mosaic (YOLOv4) and mixup. TensorFlow."""

from collections.abc import Callable

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.augment.visibility import Example, join_objects

# The point at which the four images of a mosaic meet, as shares of the canvas' sides.
MOSAIC_CENTRE = (0.3, 0.7)


def mosaic(
    make_tile: Callable[[int, Tensor, Tensor], Example],
    seed: Tensor,
    *,
    height: Tensor,
    width: Tensor,
) -> Example:
    """Return a canvas in four cells that meet at a random point, each with an image of its own.

    The cells fill the whole canvas, whatever the sizes of the images.

    Args:
        make_tile: number of the cell (row by row), its height and width -> an example of that size.
    """
    low, high = MOSAIC_CENTRE
    centre = tf.random.stateless_uniform((2,), seed, low, high)
    top, left = tf.unstack(tf.cast(tf.stack([height, width]), tf.float32) * centre)
    top, left = tf.cast(top, tf.int32), tf.cast(left, tf.int32)
    places = [(0, 0), (0, left), (top, 0), (top, left)]
    heights, widths = [top, height - top], [left, width - left]
    tiles = [make_tile(i, heights[i // 2], widths[i % 2]) for i in range(4)]
    rows = [tf.concat([t["image"] for t in tiles[i : i + 2]], axis=1) for i in (0, 2)]
    moved = [
        {**tile, "boxes": tile["boxes"] + tf.cast(tf.stack([x, y, x, y]), tf.float32)}
        for tile, (y, x) in zip(tiles, places, strict=True)
    ]
    return {**tiles[0], "image": tf.concat(rows, axis=0), **join_objects(moved)}


def mixup(example: Example, other: Example, seed: Tensor, *, alpha: float) -> Example:
    """Let a second image of the same size shine through, and take the objects of both.

    The share of the second is drawn from Beta(alpha, alpha). "visible" of all objects is lowered
    to their image's share, so that what has almost faded away is ignored.
    """
    gamma = tf.random.stateless_gamma((2,), seed, alpha)
    share = gamma[0] / (gamma[0] + gamma[1])
    both = join_objects(
        [
            {**example, "visible": example["visible"] * (1.0 - share)},
            {**other, "visible": other["visible"] * share},
        ]
    )
    return {**example, "image": blend(example["image"], other["image"], share), **both}


# Compiled to one pass over the pixels; single ops take three times as long.
@tf.function(jit_compile=tf.test.is_built_with_xla(), autograph=False)
def blend(image: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return the mean of two uint8 images [H, W, 3], the second one weighted by `share`."""
    image, other = tf.cast(image, tf.float32), tf.cast(other, tf.float32)
    return tf.cast(image + share * (other - image) + 0.5, tf.uint8)


def natural_size(image: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Return the size [2] of an image scaled to just fit into (height, width)."""
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    canvas = tf.cast(tf.stack([height, width]), tf.float32)
    return tf.maximum(tf.cast(tf.round(size * tf.reduce_min(canvas / size)), tf.int32), 1)
