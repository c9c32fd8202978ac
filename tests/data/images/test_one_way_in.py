"""No module outside of data/images reads an image file its own way."""

import ast
from pathlib import Path

import pytest

import keras_retinanet

PACKAGE = Path(keras_retinanet.__file__).parent
READERS = {
    # Pillow
    "Image.open",
    "ImageOps",
    "exif_transpose",
    "getexif",
    "ImageFile",
    # TensorFlow and Keras
    "io.read_file",
    "read_file",
    "ReadFile",
    "decode_image",
    "decode_jpeg",
    "decode_and_crop_jpeg",
    "decode_png",
    "decode_gif",
    "decode_bmp",
    "decode_webp",
    "DecodeImage",
    "DecodeJpeg",
    "load_img",
    # others
    "imread",
    "imdecode",
    "cv2",
    "imageio",
    "skimage",
}
OWN = "keras_retinanet.data.images"
RUNTIMES = "keras_retinanet.detection.runtimes"


def readers_in(source):
    """Names of READERS that a module uses, unless it has them from data/images."""
    tree = ast.parse(source)
    ours, found = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=module, names=names):
                named = {alias.name for alias in names}
                if (module or "").startswith((OWN, f"{RUNTIMES}.tflite_file")):
                    ours |= named  # tflite_file reads what is packed into a model file
                else:
                    found |= named | set((module or "").split("."))
            case ast.Import(names=names):
                found |= {part for alias in names for part in alias.name.split(".")}
            case ast.Attribute(attr=attr, value=value):
                found.add(attr)
                base = value.attr if isinstance(value, ast.Attribute) else None
                base = value.id if isinstance(value, ast.Name) else base
                found.add(f"{base}.{attr}")
            case ast.Name(id=name):
                found.add(name)
    return sorted((found - ours) & READERS)


@pytest.mark.parametrize(
    "source",
    [
        "from PIL import Image\nImage.open(path)",
        "from PIL import ImageOps",
        "import PIL.ImageOps",
        "image.getexif()",
        "import tensorflow as tf\ntf.io.read_file(path)",
        "tf.image.decode_jpeg(x)",
        "from tensorflow.io import decode_png",
        "import cv2",
        "from matplotlib.image import imread",
        "keras.utils.load_img(path)",
    ],
)
def test_ways_round_are_seen(source):
    assert readers_in(source)


@pytest.mark.parametrize(
    "source",
    [
        f"from {OWN}.decoding import decode_image\ndecode_image(x)",
        "open(path)",
        "from PIL import Image\nImage.fromarray(x)",
    ],
)
def test_the_way_in_is_not_taken_for_one(source):
    assert not readers_in(source)


def test_only_the_images_room_reads_images():
    modules = [p for p in PACKAGE.rglob("*.py") if PACKAGE / "data" / "images" not in p.parents]
    assert len(modules) > 100
    found = {str(p.relative_to(PACKAGE)): readers_in(p.read_text("utf-8")) for p in modules}
    found = {module: names for module, names in found.items() if names}
    assert not found
