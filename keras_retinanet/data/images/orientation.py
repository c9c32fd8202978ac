"""Which way up an image is to be shown: one rule for all that look at images.

The rule: EXIF's orientation (tag 274), in a JPEG from the first APP1 segment that holds EXIF,
wherever it lies before the compressed data; in a PNG from the eXIf chunk, before or behind the
pixels. GIF and BMP have none. An orientation that stands in XMP alone is ignored, as browsers do.

The rule is written twice: for files outside of graphs, of which it reads only what it needs, and
as a graph for the decoding, which also runs within exported models. Neither ever fails, whatever
the bytes; what lies beyond the end of a file or of its EXIF reads as zeros. Tests hold the two
equal, and both to Pillow.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor

UPRIGHT = 1
# Orientations from 5 on exchange rows and columns.
FIRST_TRANSPOSED_ORIENTATION = 5
_LAST_ORIENTATION = 8

# A bound on the work that a made-up file can ask for. A JPEG has some ten segments, a PNG of 30 MB
# some 4000 chunks.
MAX_BLOCKS = 4096

_JPEG_MAGIC, _PNG_MAGIC = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_EXIF_HEADER = b"Exif\0\0"  # in front of a JPEG's EXIF, and by mistake of some PNGs'

# JPEG (ITU-T T.81, annex B): markers of segments are FFC0 ... FFFE; these among them stand alone,
# or in front of compressed data.
_FILL = 0xFFFF
_FIRST_SEGMENT, _LAST_SEGMENT = 0xFFC0, 0xFFFE
_FIRST_WITHOUT_LENGTH, _START_OF_SCAN = 0xFFD0, 0xFFDA
_APP1 = 0xFFE1
_JPEG_HEAD = struct.Struct(">5H")  # marker, length, and what may be _EXIF_HEADER

# PNG (third edition, 5.3): length, type, data and a checksum.
_PNG_HEAD = struct.Struct(">2i")
_PNG_EXIF, _PNG_END = (int.from_bytes(kind, "big") for kind in (b"eXIf", b"IEND"))
_PNG_FRAME = 12  # bytes of a chunk beside its data

# TIFF (revision 6.0, section 2), which EXIF is: a header, then a directory of entries.
_TIFF_HEADERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION_TAG = 0x0112
_SHORT, _LONG = 3, 4  # types
_MAX_ENTRIES = 512


def file_orientation(file: BinaryIO) -> int:
    """Return the orientation, 1 to 8, of an image file that is open; 1 where it states none."""
    file.seek(0)
    magic = file.read(len(_PNG_MAGIC))
    if magic.startswith(_JPEG_MAGIC):
        return _tiff_orientation(_jpeg_exif(file))
    if magic == _PNG_MAGIC:
        return exif_block_orientation(_png_exif(file))
    return UPRIGHT


def exif_block_orientation(exif: bytes) -> int:
    """Return the orientation that a block of EXIF states, with or without a JPEG's header."""
    return _tiff_orientation(exif.removeprefix(_EXIF_HEADER))


def turn_pixels_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels [H, W, C] as they are to be shown: `turn_upright` outside of graphs."""
    if orientation >= FIRST_TRANSPOSED_ORIENTATION:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _jpeg_exif(file: BinaryIO) -> bytes:
    offset = len(_JPEG_MAGIC)
    for _ in range(MAX_BLOCKS):
        file.seek(offset)
        head = file.read(_JPEG_HEAD.size).ljust(_JPEG_HEAD.size, b"\0")
        marker, length = _JPEG_HEAD.unpack(head)[:2]
        if marker == _APP1 and head[4:] == _EXIF_HEADER:
            return file.read(max(0, length - 8))
        step = _jpeg_step(marker, length)
        if not step:
            break
        offset += step
    return b""


def _jpeg_step(marker: int, length: int) -> int:
    """Return how far on the next segment begins; 0 where none does."""
    if marker == _FILL:
        return 1
    is_segment = _FIRST_SEGMENT <= marker <= _LAST_SEGMENT
    is_alone = _FIRST_WITHOUT_LENGTH <= marker <= _START_OF_SCAN
    return 2 + length if is_segment and not is_alone and length >= 2 else 0


def _png_exif(file: BinaryIO) -> bytes:
    offset = len(_PNG_MAGIC)
    for _ in range(MAX_BLOCKS):
        file.seek(offset)
        head = file.read(_PNG_HEAD.size).ljust(_PNG_HEAD.size, b"\0")
        length, kind = _PNG_HEAD.unpack(head)
        if length < 0 or kind in (_PNG_END, 0):
            break
        if kind == _PNG_EXIF:
            return file.read(length)
        offset += _PNG_FRAME + length
    return b""


def _tiff_orientation(tiff: bytes) -> int:
    order = _TIFF_HEADERS.get(tiff[:4])
    if order is None:
        return UPRIGHT

    def read(layout: str, start: int) -> tuple:
        size = struct.calcsize(order + layout)
        return struct.unpack(order + layout, tiff[start : start + size].ljust(size, b"\0"))

    (directory,) = read("I", 4)
    (num_entries,) = read("H", directory)
    for number in range(min(num_entries, _MAX_ENTRIES)):
        start = directory + 2 + 12 * number
        tag, kind, count = read("HHI", start)
        if tag == _ORIENTATION_TAG and kind in (_SHORT, _LONG) and count == 1:
            (value,) = read("H" if kind == _SHORT else "I", start + 8)
            return value if UPRIGHT <= value <= _LAST_ORIENTATION else UPRIGHT
    return UPRIGHT


def exif_orientation(image_bytes: Tensor) -> Tensor:
    """Return the orientation, int32, of an image file's bytes: `file_orientation` as a graph."""

    def occurs(pattern: str) -> Tensor:
        rest = tf.strings.regex_replace(image_bytes, pattern, "", replace_global=False)
        return tf.strings.length(rest) < tf.strings.length(image_bytes)

    # The walk costs a tenth of the decoding, and most files do not hold what it looks for.
    may_have_exif = tf.cond(
        _starts_with(image_bytes, _PNG_MAGIC),
        lambda: occurs("eXIf"),
        lambda: occurs(r"Exif\x00\x00"),
    )
    return tf.cond(
        may_have_exif, lambda: _walked_orientation(image_bytes), lambda: tf.constant(UPRIGHT)
    )


# A function that stays one: within the graph its many small ops would cost time even where the
# branch is not taken.
@partial(
    tf.function,
    input_signature=[tf.TensorSpec((), tf.string)],
    autograph=False,
    experimental_attributes={"_noinline": True},
)
def _walked_orientation(image_bytes: Tensor) -> Tensor:
    exif = tf.case(
        [
            (_starts_with(image_bytes, _JPEG_MAGIC), lambda: _jpeg_exif_graph(image_bytes)),
            (_starts_with(image_bytes, _PNG_MAGIC), lambda: _png_exif_graph(image_bytes)),
        ],
        default=lambda: tf.constant(b""),
    )
    return _tiff_orientation_graph(exif)


def _starts_with(image_bytes: Tensor, magic: bytes) -> Tensor:
    return tf.strings.substr(image_bytes, 0, len(magic)) == magic


def turn_upright(image: Tensor, orientation: Tensor) -> Tensor:
    """Return an image uint8 [H, W, 3] as it is to be shown (EXIF 2.3, tag 274)."""

    def transposed() -> Tensor:
        # Not tf.transpose: making its kernel for uint8 prints an error on some processors.
        height, width = tf.unstack(tf.shape(image)[:2])
        pixels = tf.range(width)[:, None] + width * tf.range(height)
        return tf.gather(tf.reshape(image, (-1, 3)), pixels)

    def turned() -> Tensor:
        x = tf.cond(orientation >= FIRST_TRANSPOSED_ORIENTATION, transposed, lambda: image)
        is_one_of = lambda *values: tf.reduce_any(orientation == tf.constant(values))  # noqa: E731
        x = tf.cond(is_one_of(2, 3, 6, 7), lambda: tf.reverse(x, [1]), lambda: x)
        return tf.cond(is_one_of(3, 4, 7, 8), lambda: tf.reverse(x, [0]), lambda: x)

    return tf.cond(orientation == UPRIGHT, lambda: image, turned)


def _numbers(
    image_bytes: Tensor, start: Tensor, layout: tf.DType, count: int, order: str
) -> Tensor:
    """Return numbers of the type `layout`, int64 [count], from `start` on; zeros beyond the end."""
    size = count * layout.size
    # An offset beyond the end, or before the start, is an error for `substr`.
    end = tf.cast(tf.strings.length(image_bytes), tf.int64)
    start = tf.where((start < 0) | (start > end), end, start)
    part = tf.strings.substr(image_bytes, start, tf.constant(size, tf.int64))
    values = tf.io.decode_raw(part, layout, little_endian=order == "<", fixed_length=size)
    return tf.cast(values, tf.int64)


def _walk(
    start: int,
    read: Callable[[Tensor], Tensor],
    is_exif: Callable[[Tensor], Tensor],
    step: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Return where a file's EXIF begins and the head of its block, or those of the last block."""
    offset = tf.constant(start, tf.int64)
    return tf.while_loop(
        lambda offset, head: ~is_exif(head) & (step(head) > 0),
        lambda offset, head: (offset + step(head), read(offset + step(head))),
        (offset, read(offset)),
        maximum_iterations=MAX_BLOCKS - 1,  # the first block is read before
        parallel_iterations=1,
    )


def _jpeg_exif_graph(image_bytes: Tensor) -> Tensor:
    marked = [_APP1, *struct.unpack(">3H", _EXIF_HEADER)]

    def is_exif(head: Tensor) -> Tensor:
        return tf.reduce_all(tf.gather(head, [0, 2, 3, 4]) == tf.constant(marked, tf.int64))

    def step(head: Tensor) -> Tensor:
        marker, length = head[0], head[1]
        is_segment = (marker >= _FIRST_SEGMENT) & (marker <= _LAST_SEGMENT)
        is_alone = (marker >= _FIRST_WITHOUT_LENGTH) & (marker <= _START_OF_SCAN)
        on = tf.where(is_segment & ~is_alone & (length >= 2), 2 + length, 0)
        return tf.where(marker == _FILL, tf.constant(1, tf.int64), on)

    offset, head = _walk(
        len(_JPEG_MAGIC),
        lambda offset: _numbers(image_bytes, offset, tf.uint16, 5, ">"),
        is_exif,
        step,
    )
    return _part(image_bytes, offset + _JPEG_HEAD.size, tf.where(is_exif(head), head[1] - 8, 0))


def _png_exif_graph(image_bytes: Tensor) -> Tensor:
    def is_exif(head: Tensor) -> Tensor:
        return (head[1] == _PNG_EXIF) & (head[0] >= 0)

    def step(head: Tensor) -> Tensor:
        length, kind = head[0], head[1]
        ends = (length < 0) | (kind == _PNG_END) | (kind == 0)
        return tf.where(ends, tf.constant(0, tf.int64), _PNG_FRAME + length)

    offset, head = _walk(
        len(_PNG_MAGIC),
        lambda offset: _numbers(image_bytes, offset, tf.int32, 2, ">"),
        is_exif,
        step,
    )
    exif = _part(image_bytes, offset + _PNG_HEAD.size, tf.where(is_exif(head), head[0], 0))
    skipped = tf.where(_starts_with(exif, _EXIF_HEADER), len(_EXIF_HEADER), 0)
    return tf.strings.substr(exif, skipped, tf.strings.length(exif))


def _part(image_bytes: Tensor, start: Tensor, length: Tensor) -> Tensor:
    start = tf.minimum(start, tf.cast(tf.strings.length(image_bytes), tf.int64))
    return tf.strings.substr(image_bytes, start, tf.maximum(length, 0))


def _tiff_orientation_graph(tiff: Tensor) -> Tensor:
    result = tf.constant(UPRIGHT)
    for magic, order in _TIFF_HEADERS.items():
        result = tf.cond(
            _starts_with(tiff, magic),
            lambda order=order: _directory_orientation(tiff, order),
            lambda result=result: result,
        )
    return result


def _directory_orientation(tiff: Tensor, order: str) -> Tensor:
    directory = _numbers(tiff, tf.constant(4, tf.int64), tf.int32, 1, order)[0]
    num_entries = _numbers(tiff, directory, tf.uint16, 1, order)[0]
    words = _numbers(tiff, directory + 2, tf.uint16, 6 * _MAX_ENTRIES, order)
    tags, types, *halves = tf.unstack(tf.reshape(words, (-1, 6)), axis=1)
    if order == ">":  # of the two halves of a 32-bit number the higher one comes first
        count_high, count, value_high, value = halves
        short = value_high
    else:
        count, count_high, value, value_high = halves
        short = value
    long = tf.where(value_high == 0, value, 0)
    is_orientation = (
        (tags == _ORIENTATION_TAG)
        & ((types == _SHORT) | (types == _LONG))
        & ((count == 1) & (count_high == 0))
        & (tf.range(_MAX_ENTRIES, dtype=tf.int64) < num_entries)
    )
    values = tf.where(is_orientation, tf.where(types == _SHORT, short, long), 0)
    value = values[tf.argmax(is_orientation)]  # the first; 0 without one
    is_known = (value >= UPRIGHT) & (value <= _LAST_ORIENTATION)
    return tf.cast(tf.where(is_known, value, UPRIGHT), tf.int32)
