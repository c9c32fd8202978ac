"""Image files in requests: what is decoded, what is not, and which way up."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.data.images.decoding import decode_image
from keras_retinanet.export.saved_model.request_images import decode_request


@pytest.fixture(scope="module")
def decode():
    """A function: bytes -> image, is_valid; images of up to 30 x 20 pixels are decoded."""
    return tf.function(
        lambda file: decode_request(file, 30 * 20),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )


def encoded(width, height, kind, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_files_are_decoded_up_to_the_bound(decode, kind):
    file = encoded(30, 20, kind)
    image, is_valid = decode(tf.constant(file))
    assert is_valid.numpy()
    np.testing.assert_array_equal(image, decode_image(tf.constant(file)))
    image, is_valid = decode(tf.constant(encoded(31, 20, kind)))
    assert not is_valid.numpy() and image.shape == (1, 1, 3) and not image.numpy().any()


@pytest.mark.parametrize("side", [16, 4000])
def test_kinds_whose_size_is_unknown_are_not_decoded(decode, side):
    file = encoded(side, side, "WEBP", quality=1)
    image, is_valid = decode(tf.constant(file))
    assert not is_valid.numpy() and image.shape == (1, 1, 3)
    # JPEG XL: a codestream, and a container.
    for magic in (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"):
        assert not decode(tf.constant(magic + bytes(100)))[1].numpy()


def test_files_are_turned_upright(decode):
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG"):
        file = encoded(30, 20, kind, exif=exif)
        image, is_valid = decode(tf.constant(file))
        assert is_valid.numpy() and image.shape == (30, 20, 3)
        np.testing.assert_array_equal(image, decode_image(tf.constant(file)))
    stored = np.asarray(Image.open(io.BytesIO(file)))
    np.testing.assert_array_equal(image, np.rot90(stored, -1))  # a quarter turn clockwise
