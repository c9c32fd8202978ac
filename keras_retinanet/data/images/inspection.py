"""Image files looked at before they are used: size of the upright image, or what is wrong."""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import BinaryIO

import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from keras_retinanet.data.images.address import num_readers, open_image
from keras_retinanet.data.images.orientation import (
    FIRST_TRANSPOSED_ORIENTATION,
    file_orientation,
)
from keras_retinanet.data.images.webp_and_jpeg_xl import (
    JPEG_XL_MAGIC_BYTES,
    WEBP_HEAD_BYTES,
    is_jpeg_xl_file,
    is_still_webp,
    jpeg_xl_size,
)
from keras_retinanet.errors import BucketError

# What TensorFlow decodes; MPO is a JPEG with more pictures behind the first. JPEG XL is, too, which
# Pillow does not know.
DECODABLE_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
DAMAGED = "truncated or damaged image file"
MIN_SIDE = 10  # pixels; smaller files are thumbnails, trackers or mistakes
# Of the images, those that a pool of threads is given at once.
IMAGES_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """An image file as its head tells it.

    Attributes:
        height, width: of the upright image in pixels; 0: unknown.
        fault: what is wrong with the file.
        is_other_kind: it is an image, of a kind that TensorFlow does not decode.
    """

    height: int = 0
    width: int = 0
    fault: str | None = None
    is_other_kind: bool = False


def inspect_images(
    paths: Sequence[str], *, decode: bool = True, on_image: Callable[[], None] = lambda: None
) -> list[ImageHeader]:
    """Return the headers of image files, read in parallel; `decode` also finds truncated ones.

    Args:
        on_image: called after each image, in the caller's thread.
    """
    # The filter is for all threads: set in each, one's exit would bring back another's.
    with warnings.catch_warnings(), ThreadPoolExecutor(num_readers(paths)) as pool:
        # Large images are the user's choice; Pillow's own limit still refuses bombs.
        warnings.simplefilter("ignore")
        headers: list[ImageHeader] = []
        # Of millions of images, most have the same header as another: one object for all of these.
        known: dict[ImageHeader, ImageHeader] = {}
        # In blocks: the pool holds a task of a kilobyte for each image that it is given.
        for start in range(0, len(paths), IMAGES_AT_ONCE):
            block = paths[start : start + IMAGES_AT_ONCE]
            for header in pool.map(lambda path: inspect_image(path, decode=decode), block):
                headers.append(known.setdefault(header, header))
                on_image()
        return headers


def inspect_image(path: str, *, decode: bool = True) -> ImageHeader:
    """Return the header of one image file; never raises for a bad file.

    Raises:
        BucketError: its bucket cannot be read.
    """
    try:
        with open_image(path) as file:
            header = _read_header(file, decode=decode)
    except FileNotFoundError:
        return ImageHeader(fault="missing image file")
    except BucketError:
        raise
    except PermissionError:
        return ImageHeader(fault="no permission to read the image file")
    except Image.DecompressionBombError:
        # Pillow refuses twice the number from which on it warns.
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return ImageHeader(fault=f"image of more than {limit:,} pixels")
    except UnidentifiedImageError:
        return ImageHeader(fault="not an image, or one of an unknown kind")
    except Exception:  # TensorFlow's errors, and Pillow's OSError, SyntaxError, struct.error, ...
        return ImageHeader(fault=DAMAGED)
    if header.fault is None and min(header.height, header.width) < MIN_SIDE:
        return replace(header, fault=f"image with a side below {MIN_SIDE} px")
    return header


def _read_header(file: BinaryIO, *, decode: bool) -> ImageHeader:
    if file.seek(0, os.SEEK_END) == 0:
        return ImageHeader(fault="empty image file")
    if starts_as_jpeg_xl(file):
        return _read_jpeg_xl(file, decode=decode)
    if _starts_as_heic(file):  # Pillow does not know it
        return _of_other_kind("HEIC")
    with Image.open(file) as image:
        (width, height), kind = image.size, image.format
        is_indexed = image.mode in ("1", "P")
    if kind == "WEBP" and not _is_still_webp(file):
        kind = "animated WEBP"  # by its own flag: Pillow calls one of a single frame still
    if kind == "BMP" and is_indexed:
        kind = "BMP palette"  # TensorFlow takes the palette's indices for grey values
    if file_orientation(file) >= FIRST_TRANSPOSED_ORIENTATION:
        width, height = height, width
    if kind not in DECODABLE_FORMATS:
        return _of_other_kind(kind, height, width)
    if decode:
        file.seek(0)
        try:
            _decode_small(file.read(), kind)
        except Exception:  # TensorFlow's errors; the size is known
            return ImageHeader(height, width, DAMAGED)
    return ImageHeader(height, width)


def _of_other_kind(kind: str | None, height: int = 0, width: int = 0) -> ImageHeader:
    fault = f"{kind} images cannot be read: convert to JPEG or PNG"
    return ImageHeader(height, width, fault, is_other_kind=True)


def _starts_as_heic(file: BinaryIO) -> bool:
    """Return whether an open file is HEIC by its first box (ISO/IEC 23008-12, annex B)."""
    file.seek(0)
    head = file.read(len(b"sizeftypkind"))
    file.seek(0)
    return head[4:8] == b"ftyp" and head[8:] in _HEIC_BRANDS


def starts_as_jpeg_xl(file: BinaryIO) -> bool:
    """Return whether an open file is JPEG XL by its first bytes."""
    file.seek(0)
    head = file.read(JPEG_XL_MAGIC_BYTES)
    file.seek(0)
    return is_jpeg_xl_file(head)


def _is_still_webp(file: BinaryIO) -> bool:
    file.seek(0)
    return bool(is_still_webp(tf.constant(file.read(WEBP_HEAD_BYTES))))


def _read_jpeg_xl(file: BinaryIO, *, decode: bool) -> ImageHeader:
    image_bytes = file.read()
    height, width = jpeg_xl_size(tf.constant(image_bytes)).numpy().tolist()
    if height * width > 2 * (Image.MAX_IMAGE_PIXELS or height * width):
        raise Image.DecompressionBombError
    if decode:
        try:
            tf.io.decode_image(image_bytes, channels=0, expand_animations=False)
        except Exception:  # TensorFlow's errors; the size is known
            return ImageHeader(height, width, DAMAGED)
    return ImageHeader(height, width)


def _decode_small(image_bytes: bytes, kind: str) -> None:
    """Decode as training will, JPEG at an eighth of its size: all compressed data are read.

    Pillow forgives more, for example a missing end of the file.
    """
    if kind in ("JPEG", "MPO"):
        tf.io.decode_jpeg(image_bytes, channels=3, ratio=8)
    else:
        channels = 0 if kind == "WEBP" else 3  # not all WebP files can be decoded as three
        tf.io.decode_image(image_bytes, channels=channels, expand_animations=False)
