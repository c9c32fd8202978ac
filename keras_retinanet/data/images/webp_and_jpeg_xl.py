"""WebP and JPEG XL: their upright size by the bytes of their heads, in graphs and at once.

What decodes them cannot be asked for the size alone, and an image of hundreds of megapixels may be
a file of some kilobytes: so a bound on pixels has to know it before the decoding.
"""

from collections.abc import Callable
from functools import partial

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.images.orientation import FIRST_TRANSPOSED_ORIENTATION

# WebP (RFC 9649): a RIFF file, whose first chunk tells the kind.
_RIFF, _WEBP = b"RIFF", b"WEBP"
_CHUNK_AT, _DATA_AT = 12, 20
_ANIMATION_FLAG = 2
WEBP_HEAD_BYTES = 32
# JPEG XL (ISO/IEC 18181-1 annex D, and 18181-2): the bare codestream, or boxes around it.
_CODESTREAM = b"\xff\x0a"
_BOXES = b"\0\0\0\x0cJXL \r\n\x87\n"
JPEG_XL_MAGIC_BYTES = len(_BOXES)
_WHOLE_BOX, _PART_BOX = (int.from_bytes(kind, "big") for kind in (b"jxlc", b"jxlp"))
_SIZE_BITS = (9, 13, 18, 30)
# Width to height where the head gives the height alone; 0: it gives the width, too.
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
# Size and orientation take up to 73 bits behind the first two bytes of a codestream.
_HEAD_BYTES = 16
_LONGEST_SIZE_BYTES = 12
_LAST_PART = 2**31  # set in the number of the last part
_MAX_BOXES = 1024

# A side that no image has: the size of what cannot be read.
_NO_SIDE = 2**31 - 1


# Functions that stay functions: their many small ops would be in each signature of an export.
one_function = partial(
    tf.function,
    input_signature=[tf.TensorSpec((), tf.string)],
    autograph=False,
    experimental_attributes={"_noinline": True},
)


@one_function
def is_still_webp(image_bytes: Tensor) -> Tensor:
    """Return whether a file is WebP and says that it is no animation, by its first bytes."""
    head = _head(image_bytes)
    is_webp = (tf.strings.substr(head, 0, 4) == _RIFF) & (tf.strings.substr(head, 8, 4) == _WEBP)
    flags = tf.io.decode_raw(tf.strings.substr(head, _DATA_AT, 1), tf.uint8)[0]
    is_extended = tf.strings.substr(head, _CHUNK_AT, 4) == b"VP8X"
    return is_webp & ~(is_extended & (flags // _ANIMATION_FLAG % 2 == 1))


@one_function
def is_jpeg_xl(image_bytes: Tensor) -> Tensor:
    """Return whether a file is JPEG XL by its first bytes, in boxes or not."""
    head = _head(image_bytes)
    is_bare = tf.strings.substr(head, 0, len(_CODESTREAM)) == _CODESTREAM
    return is_bare | (tf.strings.substr(head, 0, len(_BOXES)) == _BOXES)


def is_jpeg_xl_file(head: bytes) -> bool:
    """Return the same outside of graphs, of which a call takes longer than all else that is read
    of a file's head."""
    return head.startswith((_CODESTREAM, _BOXES))


@one_function
def decode_webp_or_jpeg_xl(image_bytes: Tensor) -> Tensor:
    """Return RGB, uint8 [H, W, 3], of a file of one of the two; alpha is dropped.

    TensorFlow turns down WebP with alpha and grey JPEG XL where three channels are asked for. An
    animated WebP must not come here: TensorFlow 2.21 then writes beyond its memory.
    """
    image = tf.io.decode_image(image_bytes, channels=0, expand_animations=False)
    return tf.cond(
        tf.shape(image)[-1] < 3,
        lambda: tf.repeat(image[..., :1], 3, axis=-1),
        lambda: image[..., :3],
    )


@one_function
def webp_size(image_bytes: Tensor) -> Tensor:
    """Return height and width, int64 [2], that the head of a WebP file states."""
    kind = tf.strings.substr(_head(image_bytes), _CHUNK_AT, 4)
    head = _byte_numbers(image_bytes, tf.constant(_DATA_AT, tf.int64), 10)

    def lossy() -> Tensor:
        return tf.stack([(head[8] + 256 * head[9]) % 2**14, (head[6] + 256 * head[7]) % 2**14])

    def lossless() -> Tensor:
        value = _little_endian(head[1:5])
        return tf.stack([value // 2**14 % 2**14 + 1, value % 2**14 + 1])

    def extended() -> Tensor:
        return tf.stack([_little_endian(head[7:10]) + 1, _little_endian(head[4:7]) + 1])

    return tf.case(
        [(kind == b"VP8 ", lossy), (kind == b"VP8L", lossless), (kind == b"VP8X", extended)],
        default=_no_size,
    )


@one_function
def jpeg_xl_size(image_bytes: Tensor) -> Tensor:
    """Return height and width, int64 [2], of the upright image that a JPEG XL file states.

    TensorFlow turns it upright on decoding. A file whose codestream is not found has sides that no
    image has.
    """
    start = tf.cond(
        tf.strings.substr(_head(image_bytes), 0, len(_CODESTREAM)) == _CODESTREAM,
        lambda: tf.constant(0, tf.int64),
        lambda: _codestream_start(image_bytes),
    )
    magic = _byte_numbers(image_bytes, start, len(_CODESTREAM))
    is_codestream = (start >= 0) & tf.reduce_all(magic == tf.constant([*_CODESTREAM], tf.int64))
    return tf.cond(is_codestream, lambda: _codestream_size(image_bytes, start), _no_size)


def _codestream_start(image_bytes: Tensor) -> Tensor:
    """Return where the codestream begins in a file of boxes, -1 where no box holds it."""
    end = tf.cast(tf.strings.length(image_bytes), tf.int64)

    def head(offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The length of a box with its head, that of its head, and its kind."""
        numbers = _byte_numbers(image_bytes, offset, 16)
        short, kind, long = (_big_endian(numbers[i:j]) for i, j in ((0, 4), (4, 8), (9, 16)))
        size = tf.where(short == 1, long, tf.where(short == 0, end - offset, short))
        return size, tf.where(short == 1, tf.constant(16, tf.int64), 8), kind

    def is_found(offset: Tensor) -> Tensor:
        kind = head(offset)[2]
        return (kind == _WHOLE_BOX) | (kind == _PART_BOX)

    def is_more(offset: Tensor) -> Tensor:
        size, of_head, _ = head(offset)
        return ~is_found(offset) & (size >= of_head) & (offset + size < end)

    (offset,) = tf.while_loop(
        is_more,
        lambda offset: (offset + head(offset)[0],),
        (tf.constant(0, tf.int64),),
        maximum_iterations=_MAX_BOXES,
        parallel_iterations=1,
    )
    size, of_head, kind = head(offset)
    # A part begins with its number, and only that of the first part is 0.
    number = _big_endian(_byte_numbers(image_bytes, offset + of_head, 4))
    start = offset + of_head + tf.where(kind == _PART_BOX, tf.constant(4, tf.int64), 0)
    # A first part too short for the head could hide the size in the next one; nothing writes that.
    is_long = size - of_head >= 4 + _LONGEST_SIZE_BYTES
    is_first = (kind == _WHOLE_BOX) | ((number % _LAST_PART == 0) & is_long)
    return tf.where(is_found(offset) & is_first, start, tf.constant(-1, tf.int64))


def _codestream_size(image_bytes: Tensor, start: Tensor) -> Tensor:
    numbers = _byte_numbers(image_bytes, start + len(_CODESTREAM), _HEAD_BYTES)
    # Bits in the order of reading: of each byte the lowest first.
    bits = tf.reshape(numbers[:, None] // tf.constant([2**i for i in range(8)], tf.int64) % 2, [-1])

    def read(offset: Tensor, count: int) -> Tensor:
        powers = tf.constant([2**i for i in range(count)], tf.int64)
        return tf.reduce_sum(bits[offset : offset + count] * powers)

    def side(offset: Tensor) -> Tensor:
        """A side as the size's four ranges write it, and where it ends."""

        def of(count: int) -> Callable[[], Tensor]:
            return lambda: tf.stack([read(offset + 2, count) + 1, offset + 2 + count])

        selector = tf.cast(read(offset, 2), tf.int32)
        return tf.switch_case(selector, [of(count) for count in _SIZE_BITS])

    is_small = bits[0] == 1
    one = tf.constant(1, tf.int64)

    def next_side(offset: Tensor) -> Tensor:
        return tf.cond(
            is_small,
            lambda: tf.stack([(read(offset, 5) + 1) * 8, offset + 5]),
            lambda: side(offset),
        )

    height, offset = tf.unstack(next_side(one))
    ratio = read(offset, 3)
    offset = offset + 3

    def by_ratio(w: int, h: int) -> Callable[[], Tensor]:
        return lambda: tf.stack([height * w // h, offset])  # rounded down, as by the standard

    cases = [lambda: next_side(offset), *(by_ratio(w, h) for w, h in _RATIOS)]
    width, offset = tf.unstack(tf.switch_case(tf.cast(ratio, tf.int32), cases))
    # Of the metadata: all are the default; there are further fields; the orientation less 1.
    has_orientation = (bits[offset] == 0) & (bits[offset + 1] == 1)
    is_turned = has_orientation & (read(offset + 2, 3) + 1 >= FIRST_TRANSPOSED_ORIENTATION)
    size = tf.stack([height, width])
    return tf.where(is_turned, size[::-1], size)


def _head(image_bytes: Tensor) -> Tensor:
    """Return the first bytes of a file, with zeros behind a shorter one."""
    return tf.strings.join(
        [tf.strings.substr(image_bytes, 0, WEBP_HEAD_BYTES), tf.constant(bytes(WEBP_HEAD_BYTES))]
    )


def _byte_numbers(image_bytes: Tensor, start: Tensor, count: int) -> Tensor:
    """Return bytes as int64 [count]; zeros beyond the end of the file."""
    end = tf.cast(tf.strings.length(image_bytes), tf.int64)
    start = tf.where((start < 0) | (start > end), end, start)
    part = tf.strings.substr(image_bytes, start, tf.constant(count, tf.int64))
    return tf.cast(tf.io.decode_raw(part, tf.uint8, fixed_length=count), tf.int64)


def _little_endian(numbers: Tensor) -> Tensor:
    powers = [256**i for i in range(numbers.shape[0])]
    return tf.reduce_sum(numbers * tf.constant(powers, tf.int64))


def _big_endian(numbers: Tensor) -> Tensor:
    return _little_endian(numbers[::-1])


def _no_size() -> Tensor:
    return tf.constant([_NO_SIDE, _NO_SIDE], tf.int64)
