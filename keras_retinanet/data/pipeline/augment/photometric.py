"""Changes of colour, all of them one linear map of a pixel's red, green and blue. TensorFlow.

The maps of hue, saturation and grey are the matrices of the W3C's Filter Effects Module
(feColorMatrix hueRotate and saturate), applied to sRGB values as CSS does: they keep the brightness
that is seen.
"""

import math

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.augment.visibility import Example

# How much red, green and blue count for brightness.
LUMINANCE = (0.213, 0.715, 0.072)
# The directions in which a turn of the hue moves colours: cosine and sine parts of hueRotate.
_HUE_SIN = (
    (-0.213, -0.715, 0.928),
    (0.143, 0.140, -0.283),
    (-0.787, 0.715, 0.072),
)
_MIDDLE = 127.5  # contrast leaves middle grey as it is


def random_photometric(
    example: Example,
    seed: Tensor,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    gray: float = 0.0,
) -> Example:
    """Change the colours of the whole image; boxes stay.

    Args:
        brightness, contrast, saturation: the largest relative change of each.
        hue: the largest turn in degrees.
        gray: the probability that no colour is left.
    """
    draws = tf.random.stateless_uniform((5,), seed, -1.0, 1.0)
    matrix, offset = colour_map(
        brightness=1.0 + brightness * draws[0],
        contrast=1.0 + contrast * draws[1],
        saturation=tf.where(draws[2] < 2.0 * gray - 1.0, 0.0, 1.0 + saturation * draws[3]),
        hue=hue * draws[4],
    )
    return {**example, "image": map_colours(example["image"], matrix, offset)}


def colour_map(
    *, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the matrix [3, 3] (rows give the new red, green, blue) and the offset of all channels.

    First hue and saturation, then brightness, then contrast about middle grey; without clipping in
    between.

    Args:
        brightness, contrast, saturation: factors.
        hue: degrees.
    """
    grey = tf.constant([LUMINANCE] * 3)
    colour = tf.eye(3) - grey
    angle = tf.cast(hue, tf.float32) * math.pi / 180.0
    turn = grey + tf.cos(angle) * colour + tf.sin(angle) * tf.constant(_HUE_SIN)
    matrix = contrast * brightness * tf.matmul(grey + saturation * colour, turn)
    return matrix, _MIDDLE * (1.0 - contrast)


# Compiled to one pass over the pixels: a third of the time of the same as single ops. There are as
# many programs as sizes of canvas.
@tf.function(jit_compile=tf.test.is_built_with_xla(), autograph=False)
def map_colours(image: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """Return the uint8 image [H, W, 3] with each pixel p made `matrix` @ p + `offset`, rounded."""
    red, green, blue = tf.unstack(tf.cast(image, tf.float32), axis=2)
    channels = [m[0] * red + m[1] * green + m[2] * blue + offset for m in tf.unstack(matrix)]
    return tf.cast(tf.clip_by_value(tf.stack(channels, axis=2), 0.0, 255.0) + 0.5, tf.uint8)
