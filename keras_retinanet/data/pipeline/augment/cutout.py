"""Cutout: rectangles of padding put over the image (DeVries and Taylor 2017). TensorFlow."""

import tensorflow as tf

from keras_retinanet.conventions import PAD_VALUE, Tensor
from keras_retinanet.data.pipeline.augment.visibility import Example
from keras_retinanet.geometry.boxes import box_area, pairwise_intersection


def random_cutout(example: Example, seed: Tensor, *, count: int, size: float) -> Example:
    """Put `count` rectangles over the image, of sides up to `size` times the image's.

    Boxes stay; "visible" falls by the share of the box that is covered. Where rectangles overlap
    the share counts twice: an object is rather ignored than trained unseen.
    """
    sides = tf.cast(tf.shape(example["image"])[:2], tf.float32)
    draws = tf.random.stateless_uniform((count, 4), seed)
    half = draws[:, :2] * size * sides / 2.0
    centres = draws[:, 2:] * sides
    low = tf.round(tf.maximum(centres - half, 0.0))
    high = tf.round(tf.minimum(centres + half, sides))
    rectangles = tf.concat([low[:, ::-1], high[:, ::-1]], axis=1)
    covered = tf.reduce_sum(pairwise_intersection(example["boxes"], rectangles), axis=1)
    share = tf.math.divide_no_nan(covered, box_area(example["boxes"]))
    return {
        **example,
        "image": cover(example["image"], rectangles),
        "visible": example["visible"] * tf.maximum(1.0 - share, 0.0),
    }


# Compiled to one pass over the pixels; as single ops the mask alone takes longer.
@tf.function(jit_compile=tf.test.is_built_with_xla(), autograph=False)
def cover(image: Tensor, rectangles: Tensor) -> Tensor:
    """Return the uint8 image [H, W, 3] with PAD_VALUE in the rectangles [n, 4], whole pixels."""
    height, width = tf.unstack(tf.shape(image)[:2])
    x1, y1, x2, y2 = tf.unstack(tf.cast(rectangles, tf.int32)[:, :, None], axis=1)
    rows, columns = tf.range(height), tf.range(width)
    in_rows, in_columns = (rows >= y1) & (rows < y2), (columns >= x1) & (columns < x2)
    is_covered = tf.reduce_any(in_rows[:, :, None] & in_columns[:, None, :], axis=0)
    return tf.where(is_covered[..., None], tf.constant(PAD_VALUE, tf.uint8), image)
