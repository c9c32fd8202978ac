"""Image files in requests: what is decoded, what is not, and which way up."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.data.images.decoding import decode_image
from keras_retinanet.export.saved_model.request_images import decode_request
from tests.data.images.jpeg_xl_samples import SAMPLES


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_files_are_decoded_up_to_the_bound(decode, kind):
    file = encoded(30, 20, kind)
    image, is_valid = decode(tf.constant(file))
    assert is_valid.numpy()
    np.testing.assert_array_equal(image, decode_image(tf.constant(file)))
    image, is_valid = decode(tf.constant(encoded(31, 20, kind)))
    assert not is_valid.numpy() and image.shape == (1, 1, 3) and not image.numpy().any()


def test_jpeg_xl_is_decoded_up_to_the_bound():
    for kind in ("rgb", "grey", "container"):
        file = tf.constant(SAMPLES[kind])
        image, is_valid = decode_request(file, 48 * 64)
        assert is_valid.numpy()
        np.testing.assert_array_equal(image, decode_image(file))
        image, is_valid = decode_request(file, 48 * 64 - 1)
        assert not is_valid.numpy() and image.shape == (1, 1, 3)


def test_an_animated_webp_is_not_decoded(decode):
    frames = [Image.new("RGB", (16, 16), (60 * i, 0, 0)) for i in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    image, is_valid = decode(tf.constant(file.getvalue()))
    assert not is_valid.numpy() and image.shape == (1, 1, 3)


def test_what_only_looks_like_an_image_is_none(decode):
    assert not decode(tf.constant(encoded(4000, 4000, "WEBP", quality=1)))[1].numpy()
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
