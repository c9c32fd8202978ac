"""Flips: an image and its boxes mirrored. TensorFlow."""

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.augment.visibility import Example


def random_flip(example: Example, seed: Tensor, *, horizontal: bool, vertical: bool) -> Example:
    """Mirror image and boxes with probability 1/2 in each of the chosen directions."""
    draws = tf.random.stateless_uniform((2,), seed) < 0.5
    if horizontal:
        example = tf.cond(draws[0], lambda: flip_horizontally(example), lambda: dict(example))
    if vertical:
        upright = example
        example = tf.cond(draws[1], lambda: flip_vertically(upright), lambda: dict(upright))
    return example


def flip_horizontally(example: Example) -> Example:
    """Exchange left and right."""
    width = tf.cast(tf.shape(example["image"])[1], tf.float32)
    x1, y1, x2, y2 = tf.unstack(example["boxes"], axis=1)
    return {
        **example,
        "image": tf.reverse(example["image"], [1]),
        "boxes": tf.stack([width - x2, y1, width - x1, y2], axis=1),
    }


def flip_vertically(example: Example) -> Example:
    """Exchange top and bottom."""
    height = tf.cast(tf.shape(example["image"])[0], tf.float32)
    x1, y1, x2, y2 = tf.unstack(example["boxes"], axis=1)
    return {
        **example,
        "image": tf.reverse(example["image"], [0]),
        "boxes": tf.stack([x1, height - y2, x2, height - y1], axis=1),
    }
