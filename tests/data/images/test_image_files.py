import io
import warnings

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_retinanet.data.images.decoding import decode_image
from keras_retinanet.data.images.inspection import inspect_image, inspect_images
from keras_retinanet.data.images.listing import list_images
from keras_retinanet.data.images.orientation import exif_orientation

DECODERS_DIFFER = 4  # levels of 255, between Pillow's JPEG decoder and TensorFlow's


def by_pillow(image_bytes):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(image_bytes)))
    return np.asarray(image.convert("RGB"))


def decoded(image_bytes):
    return decode_image(tf.constant(image_bytes)).numpy()


def decodes(image_bytes):
    try:
        decoded(image_bytes)
    except tf.errors.InvalidArgumentError:
        return False
    return True


def assert_alike(image, expected):
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    np.testing.assert_allclose(image.astype(int), expected, atol=DECODERS_DIFFER)


@pytest.fixture
def inspected(tmp_path):
    """A function: bytes -> header of a file that holds them."""

    def inspect(image_bytes, **options):
        path = tmp_path / "image.jpg"
        path.write_bytes(image_bytes)
        return inspect_image(str(path), **options)

    return inspect


@pytest.fixture(params=["exif first", "exif after jfif"])
def oriented(request, picture, exif):
    """A function: orientation, byte order -> a JPEG."""

    def make(orientation, endian):
        image_bytes = picture(exif=exif(orientation, endian))
        assert (b"Exif\0\0II" if endian == "<" else b"Exif\0\0MM") in image_bytes
        jfif, marker = image_bytes.index(b"\xff\xe0"), image_bytes.index(b"\xff\xe1")
        assert jfif < marker
        if request.param == "exif first":
            image_bytes = image_bytes[:jfif] + image_bytes[marker:]
        return image_bytes

    return make


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_by_pillow(oriented, inspected, orientation, endian):
    image_bytes = oriented(orientation, endian)
    expected = by_pillow(image_bytes)
    image = decoded(image_bytes)
    assert_alike(image, expected)
    assert int(exif_orientation(tf.constant(image_bytes))) == orientation
    header = inspected(image_bytes)
    assert (header.height, header.width) == expected.shape[:2]


def test_decoding_in_tf_data_is_the_same(oriented, picture):
    files = [oriented(orientation, endian) for orientation in range(1, 9) for endian in "<>"]
    files += [picture(kind="PNG", mode="L"), picture(kind="GIF"), picture(kind="BMP")]
    mapped = tf.data.Dataset.from_tensor_slices(files).map(decode_image)
    for image_bytes, image in zip(files, mapped.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(image, decoded(image_bytes))


def test_orientations_of_the_picture_all_differ(picture, exif):
    images = [by_pillow(picture(exif=exif(o))).tobytes() for o in range(1, 9)]
    assert len(set(images)) == 8


@pytest.mark.parametrize("orientation", [0, 9, 1000])
def test_an_orientation_that_does_not_exist_is_none(picture, exif, orientation):
    assert int(exif_orientation(picture(exif=exif(orientation)))) == 1


def test_no_exif_is_upright(picture):
    assert int(exif_orientation(picture())) == 1


@pytest.mark.parametrize("seed", range(20))
def test_damaged_exif_is_read_without_error(seed):
    rng = np.random.default_rng(seed)
    tail = rng.bytes(rng.integers(0, 60))
    orientation = exif_orientation(
        b"\xff\xd8\xff\xe1\0\0Exif\0\0" + rng.choice([b"II", b"MM"]) + tail
    )
    assert 1 <= int(orientation) <= 8


@pytest.mark.parametrize("cut", [1, 8, 16, 19])
def test_exif_cut_short_is_upright(picture, exif, cut):
    image_bytes = picture(exif=exif(6))
    end = image_bytes.index(b"Exif\0\0") + 6 + cut
    assert int(exif_orientation(image_bytes[:end])) == 1


def late_exif(picture, exif):
    image_bytes = picture(exif=exif(6))
    marker = image_bytes.index(b"\xff\xe1")
    other = b"\xff\xe2" + (4002).to_bytes(2, "big") + bytes(4000)
    return image_bytes[:marker] + other + image_bytes[marker:]


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize(
    "make",
    [
        late_exif,
        lambda picture, exif: picture(kind="PNG", exif=exif(6)),
        lambda picture, exif: picture(xmp=XMP),
    ],
    ids=["behind 4 kB", "png", "xmp"],
)
def test_header_and_decoder_agree_on_orientations_elsewhere(picture, exif, inspected, make):
    image_bytes = make(picture, exif)
    header = inspected(image_bytes)
    assert (header.height, header.width) == decoded(image_bytes).shape[:2]


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


@pytest.mark.parametrize(
    ("kind", "mode"), [("BMP", "P"), ("BMP", "1"), ("WEBP", "RGB"), ("TIFF", "RGB")]
)
def test_what_cannot_be_read_says_what_to_do(picture, inspected, kind, mode):
    fault = inspected(picture(kind=kind, mode=mode)).fault
    assert kind in fault
    assert "convert to JPEG or PNG" in fault


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_truncated_files_are_found_wherever_they_end(picture, inspected, kind):
    whole = picture(kind=kind)
    cuts = [1, 2, 3, 4, 8, 12, 13, 20, len(whole) // 2]
    faults = {cut: inspected(whole[:-cut]).fault for cut in cuts}
    assert {c for c, fault in faults.items() if fault} == {
        c for c in cuts if not decodes(whole[:-c])
    }
    assert faults[20] == "truncated or damaged image file"
    assert len([fault for fault in faults.values() if fault]) >= len(cuts) - 2


def test_without_decoding_only_the_header_is_read(picture, inspected):
    truncated = picture()[:-500]
    assert inspected(truncated, decode=False).width == 64
    assert inspected(truncated).fault


@pytest.mark.parametrize("size", [(9, 40), (40, 9), (1, 1)])
def test_tiny_images_are_refused(picture, inspected, size):
    assert inspected(picture(*size)).fault == "image with a side below 10 px"
    assert inspected(picture(10, 10)).fault is None


def test_headers_come_in_the_order_of_the_paths(picture, tmp_path):
    paths = []
    for width in range(20, 50):
        paths.append(str(tmp_path / f"{width}.jpg"))
        if width != 30:
            (tmp_path / f"{width}.jpg").write_bytes(picture(width, 16))
    headers = inspect_images(paths)
    assert [h.width for h in headers] == [0 if w == 30 else w for w in range(20, 50)]
    assert headers[10].fault == "missing image file"


def test_warnings_are_heard_again_after_inspection(picture, tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(32)]
    for path in paths:
        path.write_bytes(picture())
    before = list(warnings.filters)
    for _ in range(5):
        inspect_images([str(path) for path in paths])
        assert list(warnings.filters) == before


def test_list_images_looks_into_subfolders(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.jpeg", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.png", "b.JPG", "c.jpeg"]
    assert list_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
