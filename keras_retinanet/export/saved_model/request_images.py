"""Image files in requests: decoded in the graph, bounded, and never an error. TensorFlow.

A server may put the requests of several clients into one batch, and an error would fail them all.
"""

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.images.decoding import decode_image
from keras_retinanet.data.images.webp_and_jpeg_xl import (
    is_jpeg_xl,
    is_still_webp,
    jpeg_xl_size,
    one_function,
    webp_size,
)

_PNG = b"\x89PNG"
_JPEG = b"\xff\xd8\xff"
_GIF = b"GIF8"
_BMP = b"BM"
# How many bytes of a file hold its size, in the formats where that is at a fixed place.
_HEAD_BYTES = 32


def decode_request(file: Tensor, max_pixels: int) -> tuple[Tensor, Tensor]:
    """Return the image in a file's bytes, as `decode_image` does, and whether there is one.

    Where there is none, or it has more than `max_pixels`, the image is one black pixel. The size is
    read off the file's head, so that a large image is not decoded.
    """
    none = tf.data.Dataset.from_tensors((tf.zeros((1, 1, 3), tf.uint8), False))
    images = (
        tf.data.Dataset.from_tensors(file)
        .filter(lambda file: num_pixels(file) <= max_pixels)
        .map(lambda file: (decode_image(file), True))
        # TensorFlow's graphs have no other way to go on after an error.
        .ignore_errors()
        .concatenate(none)
        .take(1)
    )
    # Not `images.get_single_element()`, which optimises the data set at every call: 300 ms.
    image, is_valid = tf.raw_ops.DatasetToSingleElement(
        dataset=tf.data.experimental.to_variant(images),
        output_types=[tf.uint8, tf.bool],
        output_shapes=[(None, None, 3), ()],
    )
    return image, is_valid


@one_function
def num_pixels(file: Tensor) -> Tensor:
    """Return the number of pixels, int64, that an image file's head states; for a file of another
    kind than training reads, the largest number there is.

    Raises:
        InvalidArgumentError: a JPEG has no head that can be read.
    """
    head = tf.io.decode_raw(tf.strings.substr(file, 0, _HEAD_BYTES), tf.uint8)
    # A file may be shorter.
    head = tf.pad(tf.cast(head, tf.int64), [[0, _HEAD_BYTES]])

    def number(*places: int) -> Tensor:
        """The number in these bytes, the highest first."""
        powers = [256**i for i in reversed(range(len(places)))]
        return tf.reduce_sum(tf.gather(head, places) * tf.constant(powers, tf.int64))

    def starts_with(magic: bytes) -> Tensor:
        return tf.strings.substr(file, 0, len(magic)) == magic

    def jpeg() -> Tensor:
        return tf.reduce_prod(tf.cast(tf.image.extract_jpeg_shape(file), tf.int64)[:2])

    def bmp() -> Tensor:
        # The height is negative where rows come from top to bottom.
        height = tf.bitcast(tf.cast(number(25, 24, 23, 22), tf.uint32), tf.int32)
        return number(21, 20, 19, 18) * tf.abs(tf.cast(height, tf.int64))

    return tf.case(
        [
            (starts_with(_JPEG), jpeg),
            (starts_with(_PNG), lambda: number(16, 17, 18, 19) * number(20, 21, 22, 23)),
            (starts_with(_GIF), lambda: number(7, 6) * number(9, 8)),
            (starts_with(_BMP), bmp),
            (is_jpeg_xl(file), lambda: tf.reduce_prod(jpeg_xl_size(file))),
            (is_still_webp(file), lambda: tf.reduce_prod(webp_size(file))),
        ],
        # TensorFlow decodes nothing else; an animated WebP it cannot.
        default=lambda: tf.constant(tf.int64.max),
    )
