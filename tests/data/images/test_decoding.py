"""Pixels of image files of all kinds, by themselves and in data sets; and pixels that are given."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_retinanet.data.images.address import image_address
from keras_retinanet.data.images.decoding import decode_image, read_pixels
from keras_retinanet.errors import DataError

DECODERS_DIFFER = 4  # levels of 255, between Pillow's JPEG decoder and TensorFlow's


def by_pillow(image_bytes):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(image_bytes)))
    return np.asarray(image.convert("RGB"))


def decoded(image_bytes):
    return decode_image(tf.constant(image_bytes)).numpy()


def assert_alike(image, expected):
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    np.testing.assert_allclose(image.astype(int), expected, atol=DECODERS_DIFFER)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", mode) for mode in ("RGB", "L", "CMYK")]
    + [("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")]
    + [("GIF", mode) for mode in ("P", "L")]
    + [("BMP", mode) for mode in ("RGB", "RGBA", "L")]
    + [("MPO", "RGB")],
)
def test_kinds_of_files_decode_to_rgb(picture, inspected, kind, mode):
    image_bytes = picture(kind=kind, mode=mode)
    image = decoded(image_bytes)
    assert_alike(image, by_pillow(image_bytes))
    header = inspected(image_bytes)
    assert header.fault is None
    assert (header.height, header.width, 3) == image.shape


def test_transparency_is_dropped(picture):
    pixels = np.zeros((20, 20, 4))
    pixels[..., :3], pixels[:10, :, 3] = (200, 100, 50), 255
    image = decoded(picture(pixels=pixels, kind="PNG", mode="RGBA"))
    assert (image == (200, 100, 50)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_to_8(inspected, channels):
    values = np.linspace(0, 65535, 32 * 40 * channels).astype(np.uint16)
    image_bytes = tf.io.encode_png(values.reshape(32, 40, channels)).numpy()
    image = decoded(image_bytes)
    assert image.shape == (32, 40, 3)
    expected = values.reshape(32, 40, channels) / 257
    np.testing.assert_allclose(image, np.broadcast_to(expected, image.shape), atol=1)
    assert inspected(image_bytes).fault is None


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (20, 16), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert (decoded(file.getvalue()) == (255, 0, 0)).all()


def test_decoding_in_tf_data_is_the_same(picture, exif):
    files = [picture(exif=exif(o)) for o in range(1, 9)]
    files += [picture(kind="PNG", mode="L"), picture(kind="GIF"), picture(kind="BMP")]
    mapped = tf.data.Dataset.from_tensor_slices(files).map(decode_image)
    for image_bytes, image in zip(files, mapped.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(image, decoded(image_bytes))


def test_images_without_orientation_are_what_tensorflow_decodes(picture):
    for kind in ("JPEG", "PNG", "GIF", "BMP"):
        file = picture(kind=kind)
        expected = tf.io.decode_image(file, channels=3, expand_animations=False)
        np.testing.assert_array_equal(decoded(file), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pixels_of_files_and_of_addresses(picture, exif, tmp_path, kind):
    file = picture(kind=kind, exif=exif(6))
    path = tmp_path / "Foto 雪 100%.x"
    path.write_bytes(b"head" + file + b"tail")
    address = image_address(path, 4, len(file), "a.jpg")
    np.testing.assert_array_equal(read_pixels(address), decoded(file))
    path.write_bytes(file)
    for given in (path, str(path)):
        pixels = read_pixels(given)
        assert pixels.dtype == np.uint8 and pixels.shape == (64, 48, 3)
        np.testing.assert_array_equal(pixels, decoded(file))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "missing image file"),
        (b"", "empty image file"),
        (b"text", "not an image"),
        ("truncated", "truncated or damaged image file"),
        ("TIFF", "TIFF images cannot be read: convert"),
    ],
)
def test_files_without_pixels_are_named(picture, tmp_path, content, fault):
    path = tmp_path / "x.jpg"
    if content == "truncated":
        content = picture()[:-500]
    elif content == "TIFF":
        content = picture(kind="TIFF")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.jpg: {fault}"):
        read_pixels(path)


def test_given_pixels_are_taken_as_they_lie(rng):
    rgb = rng.integers(0, 256, (5, 7, 3), np.uint8)
    alpha = np.concatenate([rgb, rng.integers(0, 256, (5, 7, 1), np.uint8)], axis=2)
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    for given, expected in [
        (rgb, rgb),
        (alpha, rgb),
        (rgb[..., 0], grey),
        (rgb[..., :1], grey),
        (Image.fromarray(rgb), rgb),
        (Image.fromarray(alpha), rgb),
        (Image.fromarray(rgb[..., 0]), grey),
        (Image.fromarray(grey[..., 0].astype(np.uint16) * 256 + 7), grey),
    ]:
        found = read_pixels(given)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_opened_image_is_turned_as_its_file_is(picture, exif, kind, orientation):
    image_bytes = picture(kind=kind, exif=exif(orientation))
    opened = Image.open(io.BytesIO(image_bytes))
    assert_alike(read_pixels(opened), decoded(image_bytes))
    assert np.asarray(opened).shape == (48, 64, 3)  # itself it stays as it was


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((5, 7, 3), np.float32),
        np.zeros((5, 7, 2), np.uint8),
        np.zeros((3, 5, 7), np.uint8),
        np.zeros((1, 5, 7, 3), np.uint8),
        np.zeros((0, 7, 3), np.uint8),
        np.zeros(7, np.uint8),
    ],
)
def test_other_arrays_are_refused(pixels):
    with pytest.raises(ValueError, match=r"an array must (hold uint8|be \[H, W\]).*got "):
        read_pixels(pixels)
