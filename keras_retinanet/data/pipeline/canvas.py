"""Images on a canvas: scaled to a size, and padded to the network's input. TensorFlow."""

import tensorflow as tf

from keras_retinanet.conventions import PAD_VALUE, Tensor


def fit_to_canvas(images: Tensor, size: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Scale uint8 images [..., H, W, 3] to `size` [2], and pad them at right and bottom.

    Bilinear without antialiasing, as Detectron did.
    """
    shape = tf.shape(images)[-3:-1]
    # The cast cuts, so that adding a half rounds.
    scaled = tf.cond(
        tf.reduce_all(shape == size),
        lambda: images,
        lambda: tf.cast(tf.image.resize(images, size, method="bilinear") + 0.5, tf.uint8),
    )
    paddings = [[0, 0]] * (images.shape.rank - 3)
    paddings += [[0, height - size[0]], [0, width - size[1]], [0, 0]]
    return tf.pad(scaled, paddings, constant_values=PAD_VALUE)


def scale_boxes(boxes: Tensor, old_size: Tensor, new_size: Tensor) -> Tensor:
    """Return the boxes [n, 4] of an image of `old_size` [2] that is scaled to `new_size` [2]."""
    factors = tf.cast(new_size / old_size, tf.float32)
    return boxes * tf.tile(factors[::-1], [2])
