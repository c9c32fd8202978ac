"""Images on a canvas: scaled to a size, and padded to the network's input. TensorFlow."""

from collections.abc import Callable

import tensorflow as tf

from keras_retinanet.conventions import PAD_VALUE, Tensor
from keras_retinanet.geometry.input_policy import InputDetails

# Images [..., H, W, 3] and their new size [2] -> float32.
Resize = Callable[[Tensor, Tensor], Tensor]


def bilinear(images: Tensor, size: Tensor) -> Tensor:
    """Scale images without antialiasing, as Detectron did."""
    return tf.image.resize(images, size, method="bilinear")


def fit_to_canvas(
    images: Tensor, size: Tensor, height: Tensor, width: Tensor, resize: Resize = bilinear
) -> Tensor:
    """Scale uint8 images [..., H, W, 3] to `size` [2], and pad them at right and bottom."""
    shape = tf.shape(images)[-3:-1]
    # The cast cuts, so that adding a half rounds.
    scaled = tf.cond(
        tf.reduce_all(shape == size),
        lambda: images,
        lambda: tf.cast(resize(images, size) + 0.5, tf.uint8),
    )
    paddings = [[0, 0]] * (images.shape.rank - 3)
    paddings += [[0, height - size[0]], [0, width - size[1]], [0, 0]]
    return tf.pad(scaled, paddings, constant_values=PAD_VALUE)


def fit_as(
    policy: InputDetails,
    images: Tensor,
    size: Tensor,
    height: Tensor,
    width: Tensor,
    resize: Resize = bilinear,
) -> Tensor:
    """Do as `fit_to_canvas` does, with a policy's padding and type of pixels."""
    if policy.pixels == "uint8" and policy.pad_value is None:
        return fit_to_canvas(images, size, height, width, resize)
    shape = tf.shape(images)[-3:-1]
    scaled = tf.cond(
        tf.reduce_all(shape == size),
        lambda: tf.cast(images, tf.float32),
        lambda: resize(images, size),
    )
    missing = [[0, height - size[0]], [0, width - size[1]]]
    is_image = tf.pad(tf.ones(size, tf.bool), missing)
    padded = tf.pad(scaled, [[0, 0]] * (images.shape.rank - 3) + [*missing, [0, 0]])
    padding = (float(PAD_VALUE),) * 3 if policy.pad_value is None else policy.pad_value
    canvas = tf.where(is_image[..., None], padded, tf.constant(padding))
    return canvas if policy.pixels == "float32" else tf.cast(canvas + 0.5, tf.uint8)


def scale_boxes(boxes: Tensor, old_size: Tensor, new_size: Tensor) -> Tensor:
    """Return the boxes [n, 4] of an image of `old_size` [2] that is scaled to `new_size` [2]."""
    factors = tf.cast(new_size / old_size, tf.float32)
    return boxes * tf.tile(factors[::-1], [2])
