"""WebP and JPEG XL: sizes by the bytes of their heads, and pixels."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.data.images.decoding import decode_image, read_pixels
from keras_retinanet.data.images.inspection import inspect_image
from keras_retinanet.data.images.scan import scan_image
from keras_retinanet.data.images.webp_and_jpeg_xl import (
    JPEG_XL_MAGIC_BYTES,
    is_jpeg_xl,
    is_jpeg_xl_file,
    is_still_webp,
    jpeg_xl_size,
    webp_size,
)
from keras_retinanet.errors import DataError
from tests.data.images.jpeg_xl_samples import SAMPLES, pixels

LOSSY = 6  # levels of 255, on average, at quality 80
NO_SIDE = 2**31 - 1


def webp(image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", **options)
    return file.getvalue()


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def animation():
    file = io.BytesIO()
    frames = [Image.new("RGB", (53, 37), (60 * i, 0, 0)) for i in range(3)]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    return file.getvalue()


WEBP = {
    "lossy": webp(noise(37, 53, 3), quality=80),
    "lossless": webp(noise(37, 53, 3), lossless=True),
    "alpha": webp(noise(37, 53, 4), quality=80),
    "lossless alpha": webp(noise(37, 53, 4), lossless=True),
}


@pytest.mark.parametrize("kind", WEBP)
def test_webp(kind, tmp_path):
    size = webp_size(tf.constant(WEBP[kind])).numpy()
    np.testing.assert_array_equal(size, (37, 53))
    by_pillow = np.asarray(Image.open(io.BytesIO(WEBP[kind])).convert("RGB"))
    decoded = tf.function(decode_image)(tf.constant(WEBP[kind])).numpy()
    np.testing.assert_array_equal(decoded, by_pillow)
    path = tmp_path / "a.webp"
    path.write_bytes(WEBP[kind])
    np.testing.assert_array_equal(read_pixels(path), by_pillow)
    header = inspect_image(str(path))
    assert (header.height, header.width, header.fault) == (37, 53, None)
    assert scan_image(str(path), with_look=True).fault is None


def test_an_animated_webp_is_refused_and_not_decoded(tmp_path):
    file = animation()
    assert not is_still_webp(tf.constant(file)).numpy()
    assert is_still_webp(tf.constant(WEBP["alpha"])).numpy()
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(tf.constant(file))
    (tmp_path / "a.webp").write_bytes(file)
    assert "animated WEBP images cannot be read" in inspect_image(str(tmp_path / "a.webp")).fault
    with pytest.raises(DataError, match="animated WEBP"):
        read_pixels(tmp_path / "a.webp")


def one_frame():
    """An animation cut to its first frame, which Pillow takes for a still."""
    whole, parts, start = animation(), [], 12
    while start < len(whole):
        size = int.from_bytes(whole[start + 4 : start + 8], "little")
        parts.append(whole[start : start + 8 + size + size % 2])
        start += len(parts[-1])
    frames = [part for part in parts if part.startswith(b"ANMF")]
    body = b"".join(part for part in parts if part not in frames[1:])
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def test_an_animation_of_one_frame_is_refused_and_not_decoded(tmp_path):
    file = one_frame()
    assert not getattr(Image.open(io.BytesIO(file)), "is_animated", False)
    (tmp_path / "a.webp").write_bytes(file)
    assert "animated WEBP images cannot be read" in inspect_image(str(tmp_path / "a.webp")).fault


@pytest.mark.parametrize("kind", SAMPLES)
def test_jpeg_xl(kind, tmp_path):
    expected, file = pixels(kind), tf.constant(SAMPLES[kind])
    np.testing.assert_array_equal(jpeg_xl_size(file), expected.shape[:2])
    np.testing.assert_array_equal(jpeg_xl_size(file), expected.shape[:2])
    decoded = tf.function(decode_image)(file).numpy()
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).mean() < LOSSY
    path = tmp_path / "a.jxl"
    path.write_bytes(SAMPLES[kind])
    np.testing.assert_array_equal(read_pixels(path), decoded)
    header = inspect_image(str(path))
    assert (header.height, header.width, header.fault) == (*expected.shape[:2], None)
    scanned = scan_image(str(path), with_look=True)
    assert scanned.fault is None and len(scanned.digest) == 16


def test_a_cut_jpeg_xl_is_damaged(tmp_path):
    path = tmp_path / "a.jxl"
    path.write_bytes(SAMPLES["rgb"][:60])
    header = inspect_image(str(path))
    assert (header.height, header.width) == (48, 64)
    assert header.fault == "truncated or damaged image file"
    assert scan_image(str(path), with_look=False).fault == "truncated or damaged image file"


def codestream(*fields):
    """Return the head of a codestream of (value, number of bits)."""
    bits = [value >> i & 1 for value, count in fields for i in range(count)]
    bits += [0] * (-len(bits) % 8)
    numbers = [
        sum(bit << i for i, bit in enumerate(bits[k : k + 8])) for k in range(0, len(bits), 8)
    ]
    return b"\xff\x0a" + bytes(numbers)


# small, height, ratio, width; then: all is the default.
HEADS = {
    (48, 64): [(1, 1), (5, 5), (0, 3), (7, 5), (1, 1)],
    (256, 256): [(1, 1), (31, 5), (1, 3), (1, 1)],
    (40, 48): [(1, 1), (4, 5), (2, 3), (1, 1)],
    (48, 63): [(0, 1), (0, 2), (47, 9), (0, 3), (0, 2), (62, 9), (1, 1)],
    (5000, 300): [(0, 1), (1, 2), (4999, 13), (0, 3), (0, 2), (299, 9), (1, 1)],
    (200_000, 400_000): [(0, 1), (2, 2), (199_999, 18), (7, 3), (1, 1)],
    (2**30, 2**30): [(0, 1), (3, 2), (2**30 - 1, 30), (0, 3), (3, 2), (2**30 - 1, 30), (1, 1)],
    (100, 133): [(0, 1), (0, 2), (99, 9), (3, 3), (1, 1)],
    (100, 177): [(0, 1), (0, 2), (99, 9), (5, 3), (1, 1)],
}


@pytest.mark.parametrize("size", HEADS)
def test_sizes_in_the_head_of_a_codestream(size):
    file = tf.constant(codestream(*HEADS[size]))
    np.testing.assert_array_equal(jpeg_xl_size(file), size)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_image(orientation):
    head = HEADS[48, 64][:-1]
    file = codestream(*head, (0, 1), (1, 1), (orientation - 1, 3))
    expected = (64, 48) if orientation >= 5 else (48, 64)
    np.testing.assert_array_equal(jpeg_xl_size(tf.constant(file)), expected)


def box(kind, content, *, long=False):
    if long:
        return b"\0\0\0\1" + kind + (len(content) + 16).to_bytes(8, "big") + content
    return (len(content) + 8).to_bytes(4, "big") + kind + content


MAGIC = b"\0\0\0\x0cJXL \r\n\x87\n"
STREAM = codestream(*HEADS[48, 64])


@pytest.mark.parametrize(
    ("boxes", "size"),
    [
        ([box(b"ftyp", b"jxl "), box(b"jxlc", STREAM)], (48, 64)),
        ([box(b"Exif", bytes(300), long=True), box(b"jxlc", STREAM, long=True)], (48, 64)),
        ([box(b"jxlp", bytes(4) + STREAM + bytes(20))], (48, 64)),
        ([box(b"jxlp", b"\x80\0\0\0" + STREAM + bytes(20))], (48, 64)),  # the first and last
        # The size is in the second part, behind the head of its box.
        ([box(b"jxlp", bytes(4) + STREAM[:3]), box(b"jxlp", STREAM)], (NO_SIDE, NO_SIDE)),
        ([b"\0\0\0\0jxlc" + STREAM], (48, 64)),  # to the end of the file
        ([box(b"jxlp", b"\0\0\0\1" + STREAM)], (NO_SIDE, NO_SIDE)),  # not the first part
        ([box(b"ftyp", b"jxl ")], (NO_SIDE, NO_SIDE)),
        ([box(b"jxlc", b"\0\0" + STREAM)], (NO_SIDE, NO_SIDE)),
        ([b"\0\0\0\2ftyp"] * 3, (NO_SIDE, NO_SIDE)),  # shorter than its own head
        ([box(b"free", b"")] * 5000 + [box(b"jxlc", STREAM)], (NO_SIDE, NO_SIDE)),
        ([], (NO_SIDE, NO_SIDE)),
    ],
)
def test_boxes(boxes, size):
    file = MAGIC + b"".join(boxes)
    np.testing.assert_array_equal(jpeg_xl_size(tf.constant(file)), size)


@pytest.mark.parametrize("seed", range(20))
def test_no_bytes_are_an_error(seed):
    rng = np.random.default_rng(seed)
    for start in (b"RIFF0000WEBP", b"\xff\x0a", MAGIC):
        file = tf.constant(start + rng.bytes(int(rng.integers(0, 60))))
        assert webp_size(file).numpy().min() >= 0
        assert jpeg_xl_size(file).numpy().min() >= 0


def test_jpeg_xl_is_told_alike_in_graphs_and_outside():
    files = [
        *SAMPLES.values(),
        *WEBP.values(),
        b"",
        b"\xff",
        b"\xff\xd8\xff\xe0",
        b"\0\0\0\x0cJXL ",
    ]
    heads = [file[:JPEG_XL_MAGIC_BYTES] for file in files]
    told = [is_jpeg_xl_file(head) for head in heads]
    assert told == [bool(is_jpeg_xl(tf.constant(head))) for head in heads]
    assert told == [True] * len(SAMPLES) + [False] * (len(files) - len(SAMPLES))
