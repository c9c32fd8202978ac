"""Image files: checking them before training (Pillow), and decoding them in graphs (TensorFlow).

Policy on EXIF: images are always turned upright as their EXIF orientation says, in training,
evaluation and serving, and boxes are in pixels of the upright image.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.images.address import open_image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
# What TensorFlow decodes; MPO is a JPEG with more pictures behind the first.
DECODABLE_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP")
MIN_SIDE = 10  # pixels; smaller files are thumbnails, trackers or mistakes
_INSPECTION_BLOCK = 10_000

EXIF_ORIENTATION_TAG = 0x0112
# Orientations from 5 on exchange rows and columns.
FIRST_TRANSPOSED_ORIENTATION = 5
# The EXIF segment comes first or after JFIF's 18 bytes, and its first directory within it.
_EXIF_MARKER = b"Exif\x00\x00"
EXIF_SEARCH_BYTES = 2048
_MAX_IFD_ENTRIES = 64


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Size of an upright image in pixels, or what is wrong with its file."""

    height: int = 0
    width: int = 0
    fault: str | None = None


def inspect_images(
    paths: Sequence[str], *, decode: bool = True, on_image: Callable[[], None] = lambda: None
) -> list[ImageHeader]:
    """Return the headers of image files, read in parallel; `decode` also finds truncated ones.

    Args:
        on_image: called after each image, in the caller's thread.
    """
    # The filter is for all threads: set in each, one's exit would bring back another's.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        # Large images are the user's choice; Pillow's own limit still refuses bombs.
        warnings.simplefilter("ignore")
        headers: list[ImageHeader] = []
        # In blocks: the pool holds a task of a kilobyte for each image that it is given.
        for start in range(0, len(paths), _INSPECTION_BLOCK):
            block = paths[start : start + _INSPECTION_BLOCK]
            for header in pool.map(lambda path: inspect_image(path, decode=decode), block):
                headers.append(header)
                on_image()
        return headers


def inspect_image(path: str, *, decode: bool = True) -> ImageHeader:
    """Return the header of one image file; never raises for a bad file."""
    try:
        with open_image(path) as file:
            if file.seek(0, os.SEEK_END) == 0:
                return ImageHeader(fault="empty image file")
            with Image.open(file) as image:
                (width, height), kind = image.size, image.format
                if kind == "BMP" and image.mode in ("1", "P"):
                    kind = "BMP palette"  # TensorFlow takes the palette's indices for grey values
            if kind not in DECODABLE_FORMATS:
                return ImageHeader(fault=f"{kind} images cannot be read: convert to JPEG or PNG")
            file.seek(0)
            image_bytes = file.read(-1 if decode else EXIF_SEARCH_BYTES)
        # As the graphs see it: Pillow also knows orientations in XMP, in PNG and behind the search.
        if orientation_of(image_bytes) >= FIRST_TRANSPOSED_ORIENTATION:
            width, height = height, width
        if decode:
            _decode_small(image_bytes, kind)
    except FileNotFoundError:
        return ImageHeader(fault="missing image file")
    except PermissionError:
        return ImageHeader(fault="no permission to read the image file")
    except Image.DecompressionBombError:
        return ImageHeader(fault=f"image of more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels")
    except UnidentifiedImageError:
        return ImageHeader(fault="not an image, or one of an unknown kind")
    except Exception:  # TensorFlow's errors, and Pillow's OSError, SyntaxError, struct.error, ...
        return ImageHeader(fault="truncated or damaged image file")
    if min(height, width) < MIN_SIDE:
        return ImageHeader(fault=f"image with a side below {MIN_SIDE} px")
    return ImageHeader(height, width)


def _decode_small(image_bytes: bytes, kind: str) -> None:
    """Decode as training will, JPEG at an eighth of its size: all compressed data are read.

    Pillow forgives more, for example a missing end of the file.
    """
    if kind in ("JPEG", "MPO"):
        tf.io.decode_jpeg(image_bytes, channels=3, ratio=8)
    else:
        tf.io.decode_image(image_bytes, channels=3, expand_animations=False)


def list_images(path: Path) -> list[Path]:
    """Return the image files of a folder and its subfolders in order, or the one file itself."""
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)


def decode_image(image_bytes: Tensor) -> Tensor:
    """Decode the bytes of a JPEG, PNG, GIF or BMP to upright RGB, uint8 [H, W, 3].

    Grey and palette images become RGB, alpha is dropped, 16 bits are scaled to 8, and of an
    animation the first frame is taken.
    """
    image = tf.io.decode_image(image_bytes, channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    return _upright(image, exif_orientation(image_bytes))


def exif_orientation(image_bytes: Tensor) -> Tensor:
    """Return the EXIF orientation, 1 to 8, in the bytes of an image; 1 where there is none."""
    marker = _EXIF_MARKER
    head = tf.io.decode_raw(tf.strings.substr(image_bytes, 0, EXIF_SEARCH_BYTES), tf.uint8)
    head = tf.cast(head, tf.int32)
    # Zeros behind the end, so that no offset read from the file leads out of it.
    head = tf.concat([head, tf.zeros((len(marker),), tf.int32)], axis=0)
    count = tf.size(head) - len(marker)
    found = tf.reduce_all(
        tf.stack([head[i : i + count] == byte for i, byte in enumerate(marker)]), axis=0
    )
    # TensorFlow's graph holds one reading of the segment and runs it only where there is one.
    return tf.cond(
        tf.reduce_any(found),
        lambda: _orientation_of_tiff(head, tf.argmax(found, output_type=tf.int32) + len(marker)),
        lambda: 1,
    )


# Ten times faster than op by op.
_exif_orientation_graph = tf.function(
    exif_orientation, input_signature=[tf.TensorSpec((), tf.string)]
)


def orientation_of(image_bytes: bytes) -> int:
    """Return the same outside of graphs; the bytes that an image begins with will do."""
    head = image_bytes[:EXIF_SEARCH_BYTES]
    return int(_exif_orientation_graph(head)) if _EXIF_MARKER in head else 1


def _orientation_of_tiff(head: Tensor, start: Tensor) -> Tensor:
    """Return the orientation in the TIFF structure that begins at `start` (TIFF 6.0, section 2)."""

    def byte(offset: Tensor) -> Tensor:
        return tf.gather(head, tf.clip_by_value(start + offset, 0, tf.size(head) - 1))

    is_little_endian = byte(0) == ord("I")

    def uint16(offset: Tensor) -> Tensor:
        first, second = byte(offset), byte(offset + 1)
        return tf.where(is_little_endian, first + 256 * second, 256 * first + second)

    # The directory's offset is 32 bits long; what lies beyond 65535 is beyond the search, too.
    directory = uint16(tf.where(is_little_endian, 4, 6))
    number = tf.range(_MAX_IFD_ENTRIES)
    entries = directory + 2 + 12 * number
    is_orientation = (uint16(entries) == EXIF_ORIENTATION_TAG) & (number < uint16(directory))
    value = tf.reduce_max(tf.where(is_orientation, uint16(entries + 8), 0))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _upright(image: Tensor, orientation: Tensor) -> Tensor:
    """Undo an EXIF orientation (EXIF 2.3, tag 274)."""

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

    return tf.cond(orientation == 1, lambda: image, turned)
