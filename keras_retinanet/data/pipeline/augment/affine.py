"""Rotation, shear, translation and scale of an image on its canvas, in one pass. TensorFlow."""

import math

import tensorflow as tf

from keras_retinanet.conventions import PAD_VALUE, Tensor
from keras_retinanet.data.pipeline.augment.visibility import Example, cut_to_image
from keras_retinanet.geometry.boxes import clip_boxes


def random_affine(
    example: Example,
    seed: Tensor,
    *,
    size: Tensor,
    height: Tensor,
    width: Tensor,
    scale: tuple[float, float] = (1.0, 1.0),
    rotate: float = 0.0,
    shear: float = 0.0,
    translate: float = 0.0,
) -> Example:
    """Scale the image to a random multiple of `size` [2], turn, shear and shift it on a canvas.

    The turn is about the image's centre, which comes to lie in the middle of `size`, the place of
    an image that is only scaled. What is not covered is padding.

    Args:
        rotate, shear: the largest angles in degrees; shear is drawn for each axis.
        translate: the largest shift as a share of `size`.
    """
    draws = tf.random.stateless_uniform((6,), seed, -1.0, 1.0)
    old = tf.cast(tf.shape(example["image"])[:2], tf.float32)
    new = tf.cast(size, tf.float32)
    factor = scale[0] + (scale[1] - scale[0]) * (draws[0] + 1.0) / 2.0
    scale_y, scale_x = tf.unstack(factor * new / old)
    angle = draws[1] * math.radians(rotate)
    cos, sin = tf.cos(angle), tf.sin(angle)
    shear_x, shear_y = tf.unstack(tf.tan(draws[2:4] * math.radians(shear)))
    # Rotation @ shear @ scale; the rows give x and y.
    linear = tf.stack(
        [
            [(cos - sin * shear_y) * scale_x, (cos * shear_x - sin) * scale_y],
            [(sin + cos * shear_y) * scale_x, (sin * shear_x + cos) * scale_y],
        ]
    )
    centre = new[::-1] * (0.5 + translate * draws[4:])
    offset = centre - tf.linalg.matvec(linear, old[::-1] / 2.0)
    return transform(example, linear, offset, height=height, width=width)


def transform(
    example: Example, linear: Tensor, offset: Tensor, *, height: Tensor, width: Tensor
) -> Example:
    """Move the point (x, y) of an image to `linear` @ (x, y) + `offset` on a canvas.

    Boxes become the extents of what the transform makes of them: rectangles that just hold the
    turned box. The object in it may be smaller: it is known by its box alone.

    Args:
        linear: [2, 2], not singular.
        offset: [2], x and y in pixels.
        height, width: of the canvas.
    """
    # The op takes its time over every pixel of its output: it makes only those that the image
    # reaches.
    size = tf.cast(tf.shape(example["image"])[:2], tf.float32)
    whole = tf.stack([0.0, 0.0, size[1], size[0]])[None]
    limits = tf.unstack(tf.cast(tf.stack([height, width]), tf.float32))
    extent = clip_boxes(transform_boxes(whole, linear, offset)[0], *limits)
    left, top = tf.unstack(tf.cast(tf.floor(extent[:2]), tf.int32))
    right, bottom = tf.unstack(tf.cast(tf.math.ceil(extent[2:]), tf.int32))
    # One pixel at least, which the op insists on.
    left, top = tf.minimum(left, width - 1), tf.minimum(top, height - 1)
    right, bottom = tf.maximum(right, left + 1), tf.maximum(bottom, top + 1)
    corner = tf.cast(tf.stack([left, top]), tf.float32)
    # It maps the indices of the output's pixels to those of the input's, and the centre of a pixel
    # is half a pixel from its index.
    inverse = tf.linalg.inv(linear)
    back = tf.linalg.matvec(inverse, corner + 0.5 - offset) - 0.5
    rows = tf.concat([inverse, back[:, None]], axis=1)
    coefficients = tf.concat([tf.reshape(rows, (1, 6)), tf.zeros((1, 2))], axis=1)
    seen = tf.raw_ops.ImageProjectiveTransformV3(
        images=example["image"][None],
        transforms=coefficients,
        output_shape=tf.stack([bottom - top, right - left]),
        fill_value=float(PAD_VALUE),
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[0]
    paddings = [[top, height - bottom], [left, width - right], [0, 0]]
    image = tf.pad(seen, paddings, constant_values=PAD_VALUE)
    boxes = transform_boxes(example["boxes"], linear, offset)
    return cut_to_image({**example, "image": image, "boxes": boxes})


def transform_boxes(boxes: Tensor, linear: Tensor, offset: Tensor) -> Tensor:
    """Return the extents [n, 4] of the transformed boxes [n, 4]."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=1)
    corners = tf.stack([x1, y1, x2, y1, x2, y2, x1, y2], axis=1)
    corners = tf.reshape(corners, (-1, 4, 2))
    moved = tf.linalg.matmul(corners, linear, transpose_b=True) + offset
    return tf.concat([tf.reduce_min(moved, axis=1), tf.reduce_max(moved, axis=1)], axis=1)
