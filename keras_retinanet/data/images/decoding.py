"""From the bytes of an image to its pixels: in graphs, and at once."""

import os
import threading
from collections.abc import Callable
from functools import cache

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.images.address import read_image_bytes
from keras_retinanet.data.images.inspection import inspect_image
from keras_retinanet.data.images.orientation import (
    exif_block_orientation,
    exif_orientation,
    turn_pixels_upright,
    turn_upright,
)
from keras_retinanet.data.images.webp_and_jpeg_xl import (
    decode_webp_or_jpeg_xl,
    is_jpeg_xl,
    is_still_webp,
    one_function,
)
from keras_retinanet.errors import DataError


def decode_image(image_bytes: Tensor) -> Tensor:
    """Decode the bytes of a JPEG, PNG, GIF, BMP, WebP or JPEG XL to upright RGB, uint8 [H, W, 3].

    Grey and palette images become RGB, alpha is dropped, 16 bits are scaled to 8, and of an
    animation the first frame is taken; an animated WebP is an error.
    """
    image = _decode_to_rgb(image_bytes)
    image.set_shape((None, None, 3))
    return turn_upright(image, exif_orientation(image_bytes))


@one_function
def _decode_to_rgb(image_bytes: Tensor) -> Tensor:
    return tf.cond(
        is_still_webp(image_bytes) | is_jpeg_xl(image_bytes),
        lambda: decode_webp_or_jpeg_xl(image_bytes),
        lambda: tf.io.decode_image(image_bytes, channels=3, expand_animations=False),
    )


def decode_at_once(image_bytes: bytes) -> np.ndarray:
    """Return what `decode_image` does, outside of graphs; threads may call it.

    By one graph: op by op, finding the orientation takes as long as decoding a small image. Threads
    that all came first would each make it.
    """
    with _MAKING_IT:
        decode = _decoder()
    return decode(tf.constant(image_bytes)).numpy()


_MAKING_IT = threading.Lock()


@cache
def _decoder() -> Callable[[Tensor], Tensor]:
    function = tf.function(decode_image, autograph=False)
    return function.get_concrete_function(tf.TensorSpec((), tf.string))


def read_pixels(image: str | os.PathLike | Image.Image | np.ndarray) -> np.ndarray:
    """Return an image as upright RGB, uint8 [H, W, 3], as all of this package sees it.

    Args:
        image: a file or an address, or a PIL image, which are turned upright as their EXIF says; or
            pixels, which are taken as they lie: uint8 [H, W] or [H, W, 1] (grey), [H, W, 3] (RGB)
            or [H, W, 4] (alpha is dropped).

    Raises:
        DataError: there is no such file, or none that training would read.
        ValueError: it is of another kind, or an array of another shape or type.
    """
    if isinstance(image, Image.Image):
        return _pixels_of_pil(image)
    if isinstance(image, np.ndarray):
        return _pixels_of_array(image)
    if not isinstance(image, str | os.PathLike):
        raise ValueError(
            f"an image must be a path, a NumPy array or a PIL image, got {type(image).__name__}"
        )
    path = os.fspath(image)
    fault = inspect_image(path, decode=False).fault
    if fault is None:
        try:
            return decode_at_once(read_image_bytes(path))
        except (tf.errors.OpError, OSError):
            fault = inspect_image(path).fault or "truncated or damaged image file"
    raise DataError(f"{path}: {fault}")


def _pixels_of_pil(image: Image.Image) -> np.ndarray:
    if image.mode in ("I", "F"):
        raise ValueError(
            f"PIL images of mode {image.mode!r} have no range of values: convert it to 'L' or 'RGB'"
        )
    if image.mode.startswith("I;16"):  # Pillow clips these where TensorFlow scales them
        pixels = _pixels_of_array((np.asarray(image) >> 8).astype(np.uint8))
    else:
        pixels = np.asarray(image.convert("RGB"))
    # Not Pillow's own way, which follows XMP, too.
    orientation = exif_block_orientation(image.info.get("exif") or b"")
    return turn_pixels_upright(pixels, orientation)


def _pixels_of_array(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"an array must hold uint8 values 0 to 255, got {pixels.dtype}: convert it, for "
            "example by (255 * image).round().astype('uint8') if it is in 0 to 1"
        )
    shape = pixels.shape
    is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if not is_image or 0 in shape:
        raise ValueError(f"an array must be [H, W], [H, W, 3] or [H, W, 4], got {shape}")
    pixels = pixels.reshape(*shape[:2], -1)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]
