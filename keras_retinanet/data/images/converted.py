"""Images of kinds that TensorFlow does not decode, which Pillow may: TIFF, AVIF and HEIC."""

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from keras_retinanet.data.images.decoding import read_pixels
from keras_retinanet.errors import BucketError, DataError
from keras_retinanet.system.buckets.incoming import fetched


def convert_to_png(source: Path, target: Path) -> int:
    """Write the first picture of an image that Pillow reads as an upright PNG.

    HEIC needs the package pillow-heif.

    Returns:
        how many pictures (pages, frames) the file holds.

    Raises:
        DataError: with what is wrong, where it cannot.
    """
    try:
        _learn_heic(is_needed=source.suffix.lower() in (".heic", ".heif"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on sizes and broken metadata
            with Image.open(fetched(source)) as image:
                image.load()
                Image.fromarray(read_pixels(image)).save(target)
                return getattr(image, "n_frames", 1)
    except ImportError as error:
        raise DataError(
            "HEIC image: pip install pillow-heif, or convert it to JPEG or PNG"
        ) from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(f"image of more than {limit:,} pixels") from error
    except BucketError:
        raise
    except UnidentifiedImageError as error:
        raise DataError("not an image, or one of an unknown kind") from error
    except Exception as error:  # Pillow's OSError, SyntaxError, struct.error, ...
        raise DataError(f"image that cannot be converted to PNG: {error}"[:200]) from error


def _learn_heic(*, is_needed: bool) -> None:
    """Have Pillow read HEIC, where pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        if is_needed:
            raise
    else:
        pillow_heif.register_heif_opener()
