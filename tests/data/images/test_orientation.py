"""One rule for which way up an image is: two implementations, a third one here, and Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_retinanet.data.images.decoding import decode_image, read_pixels
from keras_retinanet.data.images.inspection import inspect_image
from keras_retinanet.data.images.orientation import (
    MAX_BLOCKS,
    exif_orientation,
    file_orientation,
)

DECODERS_DIFFER = 4  # levels of 255, between Pillow's JPEG decoder and TensorFlow's
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def by_pillow(image_bytes):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(image_bytes)))
    return np.asarray(image.convert("RGB"))


graph = tf.function(exif_orientation, input_signature=[tf.TensorSpec((), tf.string)])
decode = tf.function(decode_image, input_signature=[tf.TensorSpec((), tf.string)])


def in_graph(files):
    return [int(graph(tf.constant(file))) for file in files]


def in_files(files):
    return [file_orientation(io.BytesIO(file)) for file in files]


def both(file):
    """The orientation, which both implementations have to agree on."""
    found = in_files([file])
    assert in_graph([file]) == found
    return found[0]


def segment(marker, payload):
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def chunk(kind, payload):
    checksum = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + checksum


def tiff(entries, order=">", *, at=8, count=None):
    """EXIF with one directory `at` an offset, of entries (tag, type, count, four bytes)."""
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "I", at)
    directory = struct.pack(order + "H", len(entries) if count is None else count)
    for tag, kind, number, value in entries:
        directory += struct.pack(order + "HHI", tag, kind, number) + value
    return head.ljust(at, b"\0") + directory + bytes(4)


def short(value, order=">"):
    return (0x0112, 3, 1, struct.pack(order + "HH", value, 0))


def jpeg(*segments):
    """What a JPEG begins with."""
    return b"\xff\xd8" + b"".join(segments) + b"\xff\xda\0\x02"


def app1(exif):
    return segment(0xE1, b"Exif\0\0" + exif)


def behind_the_header(image_bytes):
    """Where a JPEG's first segment ends: JFIF's, as Pillow writes it."""
    assert image_bytes[2:4] == b"\xff\xe0"
    return 4 + struct.unpack(">H", image_bytes[4:6])[0]


def with_segments(image_bytes, *segments):
    at = behind_the_header(image_bytes)
    return image_bytes[:at] + b"".join(segments) + image_bytes[at:]


def with_chunk(png, new, *, before):
    """A PNG with a chunk in front of the last one of the type `before`."""
    at = png.rindex(before) - 4
    return png[:at] + new + png[at:]


def exif_bytes(exif, orientation, endian):
    return exif(orientation, endian).tobytes().removeprefix(b"Exif\0\0")


def jpeg_plain(picture, exif, orientation, endian):
    return picture(exif=exif(orientation, endian))


def jpeg_without_jfif(picture, exif, orientation, endian):
    file = with_segments(picture(), app1(exif_bytes(exif, orientation, endian)))
    return file[:2] + file[file.index(b"\xff\xe1") :]


def jpeg_behind_a_long_profile(picture, exif, orientation, endian):
    """An ICC profile of 200 kB takes four segments; EXIF comes behind them."""
    file = picture(icc_profile=bytes(range(256)) * 800)
    assert file.count(b"ICC_PROFILE\0") == 4
    at = file.index(b"\xff\xdb")  # the quantisation table, behind all of the profile
    assert at > 200_000
    return file[:at] + app1(exif_bytes(exif, orientation, endian)) + file[at:]


def jpeg_behind_xmp(picture, exif, orientation, endian):
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP.replace(b'"6"', b'"1"'))
    return with_segments(picture(), xmp, app1(exif_bytes(exif, orientation, endian)))


def jpeg_behind_fill_bytes(picture, exif, orientation, endian):
    exif = app1(exif_bytes(exif, orientation, endian))
    return with_segments(picture(), b"\xff\xff\xff" + exif)


def png_before_the_pixels(picture, exif, orientation, endian):
    return picture(kind="PNG", exif=exif(orientation, endian))


def png_behind_the_pixels(picture, exif, orientation, endian):
    noise = np.random.default_rng(0).integers(0, 256, (160, 200, 3))
    file = picture(pixels=noise, kind="PNG")
    assert file.count(b"IDAT") > 1
    new = chunk(b"eXIf", exif_bytes(exif, orientation, endian))
    return with_chunk(file, new, before=b"IEND")


def png_with_the_header_of_a_jpeg(picture, exif, orientation, endian):
    file = picture(kind="PNG", exif=b"Exif\0\0" * 2 + exif_bytes(exif, orientation, endian))
    assert b"eXIfExif\0\0" in file
    return file


KINDS = [
    jpeg_plain,
    jpeg_without_jfif,
    jpeg_behind_a_long_profile,
    jpeg_behind_xmp,
    jpeg_behind_fill_bytes,
    png_before_the_pixels,
    png_behind_the_pixels,
    png_with_the_header_of_a_jpeg,
]


@pytest.mark.parametrize("make", KINDS)
def test_images_are_turned_as_by_pillow(picture, exif, tmp_path, make):
    path = tmp_path / "image"
    for orientation in range(1, 9):
        endian = "<>"[orientation % 2]
        file = make(picture, exif, orientation, endian)
        assert both(file) == orientation
        expected = by_pillow(file)
        image = decode(tf.constant(file)).numpy()
        assert image.shape == expected.shape
        np.testing.assert_allclose(image.astype(int), expected, atol=DECODERS_DIFFER)
        path.write_bytes(file)
        np.testing.assert_array_equal(read_pixels(path), image)
        for decoded in (True, False):
            header = inspect_image(str(path), decode=decoded)
            assert (header.height, header.width) == expected.shape[:2]


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("make", KINDS)
def test_both_byte_orders(picture, exif, make, endian):
    assert both(make(picture, exif, 6, endian)) == 6


def test_eagerly_and_in_tf_data_it_is_the_same(picture, exif):
    files = [make(picture, exif, 6, ">") for make in KINDS] + [picture(), b"II*"]
    expected = [6] * len(KINDS) + [1, 1]
    assert [int(exif_orientation(tf.constant(file))) for file in files] == expected
    found = tf.data.Dataset.from_tensor_slices(files).map(exif_orientation)
    assert list(found.as_numpy_iterator()) == expected


def test_orientations_of_the_picture_all_differ(picture, exif):
    images = [by_pillow(picture(exif=exif(o))).tobytes() for o in range(1, 9)]
    assert len(set(images)) == 8


def test_an_exported_graph_turns_images_and_calls_no_python(picture, exif, tmp_path):
    module = tf.Module()
    module.decode = tf.function(decode_image, input_signature=[tf.TensorSpec((), tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for make in KINDS:
        file = make(picture, exif, 6, "<")
        image = loaded.decode(tf.constant(file)).numpy()
        np.testing.assert_array_equal(image, decode(tf.constant(file)).numpy())
        assert image.shape == by_pillow(file).shape
    graph = loaded.decode.concrete_functions[0].graph.as_graph_def()
    ops = {n.op for n in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    assert "DecodeImage" in ops and not {op for op in ops if "PyFunc" in op}


# Orientations elsewhere: not where EXIF has its place, or not in EXIF.
EXIF_6 = tiff([short(6)])
UPRIGHT = {
    "no EXIF": jpeg(segment(0xE0, b"JFIF\0")),
    "a later picture's": jpeg() + jpeg(app1(EXIF_6)),
    "within a comment": jpeg(segment(0xFE, app1(EXIF_6))),
    "another segment": jpeg(segment(0xE2, b"Exif\0\0" + EXIF_6)),
    "a header cut short": jpeg(segment(0xE1, b"Exif\0" + EXIF_6)),
    "the second of two": jpeg(app1(tiff([short(1)])), app1(EXIF_6)),
    "behind what is no segment": jpeg(b"\0\0", app1(EXIF_6)),
    "behind a length of 1": jpeg(b"\xff\xe0\0\x01", app1(EXIF_6)),
    "XMP": jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
    "PNG's text": PNG_MAGIC + chunk(b"tEXt", chunk(b"eXIf", EXIF_6)) + chunk(b"IEND", b""),
    "behind PNG's end": PNG_MAGIC + chunk(b"IEND", b"") + chunk(b"eXIf", EXIF_6),
    "behind a negative length": PNG_MAGIC + b"\xff\xff\xff\xf4aaaa" + chunk(b"eXIf", EXIF_6),
    "a PNG's in a JPEG": jpeg(chunk(b"eXIf", EXIF_6)),
    "a GIF": b"GIF89a" + app1(EXIF_6),
    "a BMP": b"BM" + app1(EXIF_6),
    "nothing": b"",
    "a magic number": b"\xff\xd8",
    "PNG's magic number": PNG_MAGIC,
}


@pytest.mark.parametrize("case", UPRIGHT)
def test_what_is_no_exif_in_its_place_turns_nothing(case):
    assert both(UPRIGHT[case]) == 1


def test_an_orientation_in_xmp_alone_is_ignored(picture, tmp_path):
    for kind in ("JPEG", "PNG"):
        if kind == "JPEG":
            file = picture(xmp=XMP)
        else:
            text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
            file = with_chunk(picture(kind="PNG"), text, before=b"IDAT")
        assert both(file) == 1
        (tmp_path / "x").write_bytes(file)
        assert read_pixels(tmp_path / "x").shape == (48, 64, 3)


@pytest.mark.parametrize("order", "<>")
def test_entries_of_the_directory(order):
    def value(layout, *numbers):
        return struct.pack(order + layout, *numbers)

    other = (0x010F, 2, 4, b"make")
    long = lambda number: (0x0112, 4, 1, value("I", number))  # noqa: E731
    cases = [
        ([short(6, order)], 6),
        ([other, short(3, order)], 3),
        ([other] * 511 + [short(3, order)], 3),
        ([other] * 512 + [short(3, order)], 1),  # a bound on the work
        ([long(8)], 8),
        ([long(0x10006)], 1),
        ([short(0, order)], 1),
        ([short(9, order)], 1),
        ([short(1000, order)], 1),
        ([(0x0112, 1, 1, b"\6\0\0\0")], 1),  # of the type BYTE
        ([(0x0112, 3, 2, value("HH", 6, 6))], 1),  # two of them
        ([(0x0112, 3, 0x10001, value("HH", 6, 0))], 1),
        ([short(5, order), short(6, order)], 5),
        ([short(0, order), short(6, order)], 1),  # the first decides
        ([(0x0112, 2, 1, b"6\0\0\0"), short(6, order)], 6),  # a text is no orientation
        ([], 1),
    ]
    files = [jpeg(app1(tiff(entries, order))) for entries, _ in cases]
    expected = [orientation for _, orientation in cases]
    assert in_files(files) == expected
    assert in_graph(files) == expected


@pytest.mark.parametrize("order", "<>")
def test_places_of_the_directory(order):
    entries = [short(6, order)]
    assert both(jpeg(app1(tiff(entries, order, at=60_000)))) == 6
    assert both(jpeg(app1(tiff(entries, order, count=0)))) == 1
    assert both(jpeg(app1(tiff(entries, order, count=65_535)))) == 6
    png = PNG_MAGIC + chunk(b"eXIf", tiff(entries, order, at=500_000)) + chunk(b"IEND", b"")
    assert both(png) == 6
    whole = tiff(entries, order)
    for offset in (100, 65_535, 2**31 - 1, 2**31, 2**32 - 1):
        moved = whole[:4] + struct.pack(order + "I", offset) + whole[8:]
        assert both(jpeg(app1(moved))) == 1
    for magic in (b"II\0*", b"MM*\0", b"IM*\0", b"\0\0\0\0"):
        assert both(jpeg(app1(magic + whole[4:]))) == 1


def test_a_directory_beyond_its_segment_is_none():
    exif = tiff([short(6)])
    length = 2 + 6 + 8  # the segment ends before the directory; its bytes follow all the same
    assert both(b"\xff\xd8" + struct.pack(">HH", 0xFFE1, length) + b"Exif\0\0" + exif) == 1


def test_the_search_is_bounded():
    fillers = [MAX_BLOCKS - 1, MAX_BLOCKS, 100_000]
    comment, exif = segment(0xFE, b""), app1(EXIF_6)
    assert [both(jpeg(comment * n, exif)) for n in fillers] == [6, 1, 1]
    assert [both(b"\xff\xd8" + b"\xff" * n + exif) for n in fillers] == [6, 1, 1]
    text, exif = chunk(b"IDAT", b""), chunk(b"eXIf", EXIF_6)
    assert [both(PNG_MAGIC + text * n + exif) for n in fillers] == [6, 1, 1]


def oracle(file):
    """The rule, put down anew: cut the file up, and look at the pieces."""
    exif = b""
    if file[:2] == b"\xff\xd8":
        rest = file[2:]
        while rest[:1] == b"\xff" and len(rest) > 1:
            if rest[1] == 0xFF:
                rest = rest[1:]
                continue
            length = int.from_bytes(rest[2:4].ljust(2, b"\0"), "big")
            if rest[:2] == b"\xff\xe1" and rest[4:10] == b"Exif\0\0":
                exif = rest[10 : max(10, 2 + length)]
                break
            if rest[1] < 0xC0 or 0xD0 <= rest[1] <= 0xDA or length < 2:
                break
            rest = rest[2 + length :]
    elif file[:8] == PNG_MAGIC:
        rest = file[8:]
        while True:
            length, kind = int.from_bytes(rest[:4].ljust(4, b"\0"), "big"), rest[4:8]
            if length > 2**31 - 1 or kind == b"IEND" or not kind.strip(b"\0"):
                break
            if kind == b"eXIf":
                exif = rest[8 : 8 + length].removeprefix(b"Exif\0\0")
                break
            rest = rest[12 + length :]
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(exif[:4])
    if order is None:
        return 1

    def number(at, size):
        return int.from_bytes((exif[at : at + size] + bytes(size))[:size], order)

    directory = number(4, 4)
    for i in range(min(512, number(directory, 2))):
        at = directory + 2 + 12 * i
        if number(at, 2) == 274 and number(at + 2, 2) in (3, 4) and number(at + 4, 4) == 1:
            value = number(at + 8, 2 * number(at + 2, 2) - 4)
            return value if value in range(1, 9) else 1
    return 1


def damaged(rng, file):
    """The bytes of a file, cut, changed, doubled or moved at random places near its EXIF."""
    file = bytearray(file)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(0, min(len(file), 400) + 1))
        size = int(rng.integers(1, 12))
        match rng.integers(0, 6):
            case 0:
                file[at : at + 1] = rng.bytes(1)
            case 1:
                file[at : at + 1] = bytes([rng.choice([0, 1, 0xFF, 0xE1, 0x12])])
            case 2:
                del file[at : at + size]
            case 3:
                file[at:at] = rng.bytes(size)
            case 4:
                file[at:at] = file[at : at + 10 * size]
            case _ if rng.random() < 0.3:
                del file[at:]
    return bytes(file)


def test_any_bytes_are_read_without_error_and_alike(picture, exif):
    rng = np.random.default_rng(13)
    sources = [make(picture, exif, o, e) for make in KINDS for o in (3, 6) for e in "<>"]
    sources = [source[:1000] for source in sources if len(source) < 20_000]
    sources += [jpeg(app1(tiff([short(8)]))), PNG_MAGIC + chunk(b"eXIf", tiff([short(8)]))]
    files = [damaged(rng, sources[i % len(sources)]) for i in range(3000)]
    magics = [b"\xff\xd8", b"\xff\xd8\xff\xe1", PNG_MAGIC, PNG_MAGIC + b"\0\0\0\x20eXIf", b""]
    exifs = [b"Exif\0\0II*\0\x08\0\0\0", b"eXIfMM\0*\0\0\0\x08", b"Exif\0\0MM\0*", b"eXIf"]
    for _ in range(1000):
        parts = [magics[rng.integers(5)], rng.bytes(rng.integers(0, 8)), exifs[rng.integers(4)]]
        files.append(b"".join(parts) + rng.bytes(rng.integers(0, 60)))
    expected = [oracle(file) for file in files]
    assert in_files(files) == expected
    found = tf.data.Dataset.from_tensor_slices(files).map(exif_orientation, num_parallel_calls=2)
    assert list(found.as_numpy_iterator()) == expected
    turned = np.mean(np.array(expected) != 1)
    assert 0.2 < turned < 0.8  # what is compared is of both kinds
