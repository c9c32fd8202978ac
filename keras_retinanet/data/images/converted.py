"""Images of kinds that TensorFlow does not decode, which Pillow may: TIFF, AVIF and HEIC."""

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from keras_retinanet.data.images.decoding import read_pixels


def convert_to_png(source: Path, target: Path) -> str | None:
    """Write an image that Pillow reads as an upright PNG; return what is wrong where it cannot.

    HEIC needs the package pillow-heif.
    """
    is_heic = source.suffix.lower() in (".heic", ".heif")
    try:
        if is_heic:
            import pillow_heif

            pillow_heif.register_heif_opener()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on sizes and broken metadata
            with Image.open(source) as image:
                image.load()
                Image.fromarray(read_pixels(image)).save(target)
    except ImportError:
        return "HEIC image: pip install pillow-heif, or convert it to JPEG or PNG"
    except Image.DecompressionBombError:
        return f"image of more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    except UnidentifiedImageError:
        return "not an image, or one of an unknown kind"
    except Exception as error:  # Pillow's OSError, SyntaxError, struct.error, ...
        return f"image that cannot be converted to PNG: {error}"[:200]
    return None
