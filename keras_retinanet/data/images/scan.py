"""What is in image files beside a picture: their content's digest, how they look, and what the
reading copes with but their owner may not know."""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from keras_retinanet.data.images.address import num_readers, read_image_bytes
from keras_retinanet.data.images.decoding import decode_at_once
from keras_retinanet.data.images.inspection import IMAGES_AT_ONCE, starts_as_jpeg_xl
from keras_retinanet.data.images.orientation import UPRIGHT, file_orientation
from keras_retinanet.errors import BucketError

# Beyond these an image is read all the same, but takes memory, or is hard to believe.
LARGE_IMAGE_PIXELS = 50_000_000
LONG_IMAGE_RATIO = 20

TRUNCATED = "truncated or damaged image file"

# How an image looks: whether it brightens from each of 16 x 16 cells to the next.
LOOK_SIDE = 16
LOOK_BITS = LOOK_SIDE**2
# A picture flatter than this, in grey levels, looks like any other one.
MIN_CONTRAST = 4.0

_FORMAT_OF_SUFFIX = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".jxl": "JPEG XL",
}
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_PNG_END = b"IEND"
_PNG_BIT_DEPTH_AT = 24  # signature, length and type of IHDR, width, height


@dataclass(frozen=True, slots=True)
class ScannedImage:
    """An image file's content.

    Attributes:
        fault: why training would skip the image, where headers do not tell.
        digest: of the file's bytes; empty for a file that cannot be read.
        remarks: what the reading copes with.
        look: [LOOK_BITS] bool, how the picture looks; None if not asked for, or too flat.
    """

    fault: str | None = None
    digest: bytes = b""
    remarks: tuple[str, ...] = ()
    look: np.ndarray | None = None


def scan_images(
    paths: Sequence[str], *, with_looks: bool, on_image: Callable[[], None] = lambda: None
) -> list[ScannedImage]:
    """Return what is in each image file; the arguments are those of `iterate_scans`."""
    return list(iterate_scans(paths, with_looks=with_looks, on_image=on_image))


def iterate_scans(
    paths: Sequence[str], *, with_looks: bool, on_image: Callable[[], None] = lambda: None
) -> Iterator[ScannedImage]:
    """Yield what is in each image file, read in parallel.

    Args:
        with_looks: decode them, small, to tell how they look.
        on_image: called after each image, in the caller's thread.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(num_readers(paths)) as pool:
        warnings.simplefilter("ignore")  # Pillow's, on sizes and broken metadata
        # In blocks: the pool holds a task of a kilobyte for each image that it is given.
        for start in range(0, len(paths), IMAGES_AT_ONCE):
            block = paths[start : start + IMAGES_AT_ONCE]
            for one in pool.map(lambda path: scan_image(path, with_look=with_looks), block):
                on_image()
                yield one


def scan_image(path: str, *, with_look: bool) -> ScannedImage:
    """Read one image file whose header is known to be good; never raises for a bad one.

    Raises:
        BucketError: its bucket cannot be read.
    """
    try:
        content = read_image_bytes(path)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if starts_as_jpeg_xl(io.BytesIO(content)):
            return _scan_jpeg_xl(path, content, digest, with_look=with_look)
        with Image.open(io.BytesIO(content)) as image:
            remarks = _remarks(image, content, Path(path).suffix.lower())
            if not _is_complete(content, image.format):
                return ScannedImage(TRUNCATED, digest, remarks)
            look = _look(image) if with_look else None
        return ScannedImage(None, digest, remarks, look)
    except BucketError:
        raise
    except Exception:  # OSError, SyntaxError, struct.error, ... as in `inspect_image`
        return ScannedImage(TRUNCATED)


def _scan_jpeg_xl(path: str, content: bytes, digest: bytes, *, with_look: bool) -> ScannedImage:
    """Pillow does not read JPEG XL, and its end cannot be told without decoding."""
    pixels = decode_at_once(content)
    image = Image.fromarray(pixels)
    image.format = "JPEG XL"
    remarks = _remarks(image, content, Path(path).suffix.lower())
    return ScannedImage(None, digest, remarks, _look(image) if with_look else None)


def _is_complete(content: bytes, kind: str | None) -> bool:
    """Whether the end of the format is there: cheaper than decoding, and finds most cut files."""
    if kind in ("JPEG", "MPO"):
        return content.rfind(_JPEG_END) > content.rfind(_JPEG_SCAN)
    if kind == "PNG":
        return _PNG_END in content[-4096:] or _PNG_END in content
    return True


def _remarks(image: Image.Image, content: bytes, suffix: str) -> tuple[str, ...]:
    width, height = image.size
    kind = "JPEG" if image.format == "MPO" else image.format
    is_deep_png = kind == "PNG" and content[_PNG_BIT_DEPTH_AT] == 16
    has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    expected = _FORMAT_OF_SUFFIX.get(suffix)
    found = {
        f"{kind} image in a file named {suffix}: read by its content": expected not in (None, kind),
        "grayscale image: read as RGB": image.mode in ("1", "L", "LA", "I", "I;16", "F"),
        "palette image: read as RGB": image.mode in ("P", "PA") and kind != "GIF",
        "image with alpha: alpha is dropped": has_alpha,
        "CMYK image: converted to RGB": image.mode == "CMYK",
        "16-bit image: scaled to 8 bits": is_deep_png,
        "image turned by its EXIF orientation": file_orientation(io.BytesIO(content)) != UPRIGHT,
        "animated image: the first frame is read": getattr(image, "is_animated", False)
        and kind != "JPEG",
        f"image of more than {LARGE_IMAGE_PIXELS // 10**6} megapixels": width * height
        > LARGE_IMAGE_PIXELS,
        f"image longer than {LONG_IMAGE_RATIO} times its other side": max(image.size)
        > LONG_IMAGE_RATIO * min(image.size),
    }
    return tuple(remark for remark, is_so in found.items() if is_so)


def _look(image: Image.Image) -> np.ndarray | None:
    image.draft("L", (4 * LOOK_SIDE, 4 * LOOK_SIDE))  # JPEG: decode at an eighth of the size
    small = image.convert("L").resize((LOOK_SIDE + 1, LOOK_SIDE), Image.Resampling.BOX)
    values = np.asarray(small, np.float32)
    if values.std() < MIN_CONTRAST:
        return None
    return (values[:, 1:] > values[:, :-1]).ravel()
