"""What is wrong with image files, before they are used."""

import warnings

import pytest
import tensorflow as tf

from keras_retinanet.data.images.decoding import decode_image
from keras_retinanet.data.images.inspection import inspect_images


def decodes(image_bytes):
    try:
        decode_image(tf.constant(image_bytes))
    except tf.errors.InvalidArgumentError:
        return False
    return True


@pytest.mark.parametrize(("kind", "mode"), [("BMP", "P"), ("BMP", "1"), ("TIFF", "RGB")])
def test_what_cannot_be_read_says_what_to_do(picture, inspected, kind, mode):
    fault = inspected(picture(kind=kind, mode=mode)).fault
    assert kind in fault
    assert "convert to JPEG or PNG" in fault


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_is_called_by_its_name(inspected, brand):
    header = inspected(b"\0\0\0\x18ftyp" + brand + bytes(100))
    assert header.fault == "HEIC images cannot be read: convert to JPEG or PNG"
    assert header.is_other_kind


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
