import json

import numpy as np
import pytest

from keras_retinanet.errors import DataError

BOX = (8, 4, 40, 30)


@pytest.fixture
def annotated(coco):
    """One image with one box."""
    coco.add_image()
    coco.add_box("a.jpg", BOX)
    return coco


@pytest.fixture
def written(annotated):
    """A function: text in place of the annotation file's -> the error that it gives."""

    def load(text):
        annotated.write()
        write = annotated.annotation_file.write_bytes
        annotated.write = lambda: write(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(DataError) as error:
            annotated.load()
        message = str(error.value)
        assert message.count(str(annotated.annotation_file)) == 1
        assert "\n" not in message
        return message

    return load


def test_ids_with_gaps_are_mapped_in_their_order(coco):
    coco.add_image("a.jpg")
    coco.add_image("b.jpg")
    coco.add_box("b.jpg", BOX, "dog")
    coco.add_box("a.jpg", BOX, "cat")
    dataset = coco.load()
    assert dataset.class_names == ("cat", "dog")
    assert dataset.category_ids == (0, 7)
    assert dataset.image_ids == [1000, 993]
    assert dataset.labels.tolist() == [0, 1]


def test_the_area_is_the_segmentation_s_or_the_box_s(coco):
    coco.add_image()
    for area in (123.5, 0, float("nan"), 1e300, float("inf"), -1):
        coco.add_box("a.jpg", BOX, area=area)
    coco.add_box("a.jpg", BOX)
    np.testing.assert_array_equal(coco.load().areas, [123.5, 0, *[32 * 26] * 5])


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("categories", {"id": "7"}, "categories[0] needs id and name: ValueError"),
        ("categories", {"id": True}, "categories[0] needs id and name: ValueError"),
        ("categories", {"id": 1.5}, "categories[0] needs id and name: ValueError"),
        ("categories", {"name": ""}, "categories[0] needs id and name: ValueError"),
        ("categories", {"name": None}, "categories[0] needs id and name: ValueError"),
        ("categories", {"name": "\ud800"}, "categories[0] needs id and name: UnicodeEncodeError"),
        ("images", {"file_name": None}, "images[0] needs id and file_name: ValueError"),
        ("images", {"file_name": "\ud800"}, "images[0] needs id and file_name: UnicodeEncodeErr"),
        ("images", {"id": "\ud800"}, "images[0] needs id and file_name: UnicodeEncodeError"),
    ],
)
def test_an_odd_image_or_category_stops_with_its_place(annotated, kind, fields, message):
    annotated.content[kind][0].update(fields)
    with pytest.raises(DataError) as error:
        annotated.load()
    assert message in str(error.value)


def test_a_dummy_category_0_is_noted(annotated):
    annotated.content["categories"] = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 7, "name": "dog", "supercategory": "pets"},
    ]
    annotated.content["annotations"][0]["category_id"] = 7
    dataset = annotated.load()
    assert dataset.class_names == ("pets", "dog")
    ((problem, action),) = annotated.findings
    assert problem.startswith("category 0 has no objects")
    assert action == "noted"
    assert dataset.findings[0].where == f"{annotated.annotation_file}: category 'pets'"
    annotated.add_box("a.jpg", BOX, category_id=0)
    annotated.load()
    assert not annotated.findings


@pytest.mark.parametrize("box", [(20, 10, 20, 30), (20, 10, 30, 10), (40, 30, 8, 4)])
def test_zero_or_negative_size_is_dropped_and_reported(annotated, box):
    annotated.add_box("a.jpg", box)
    assert annotated.load().num_boxes == 1
    assert annotated.findings == {("box of zero or negative size", "box dropped"): 1}


def test_sizes_need_not_be_declared(coco):
    coco.add_image()
    for key in ("width", "height"):
        del coco.content["images"][0][key]
    assert coco.load().widths.tolist() == [64]
    assert not coco.findings


def test_an_unknown_category_stops_and_is_named(annotated):
    annotated.add_box("a.jpg", BOX, category_id=3)
    with pytest.raises(
        DataError, match=r"annotations\[1\] has the unknown category_id 3; known: \[0, 7\]"
    ):
        annotated.load()


def test_an_annotation_id_used_twice_is_reported(annotated):
    for _ in range(3):
        annotated.add_box("a.jpg", BOX, id=1)
    dataset = annotated.load()
    assert annotated.findings == {("annotation id used twice", "noted"): 1}
    assert dataset.findings[0].where.endswith("annotations[1]")
    assert dataset.num_boxes == 4


def test_an_annotation_of_an_unknown_image_is_reported_and_dropped(annotated):
    annotated.add_box("a.jpg", BOX, image_id=5)
    annotated.add_box("a.jpg", (100, 0, 120, 9))
    dataset = annotated.load()
    assert annotated.findings == {
        ("annotation of an unknown image", "box dropped"): 1,
        ("box outside the image", "box dropped"): 1,
    }
    places = [f.where.rpartition(": ")[2] for f in dataset.findings]
    assert places == ["annotations[1]", "annotations[2]"]
    assert dataset.num_boxes == 1


@pytest.mark.parametrize(
    ("kind", "what"), [("images", "image id 1000"), ("categories", "category id 7")]
)
def test_an_image_or_category_id_used_twice_stops(annotated, kind, what):
    annotated.content[kind].append(dict(annotated.content[kind][0], name="cow"))
    with pytest.raises(DataError, match=f"the {what} is used more than once"):
        annotated.load()


def test_a_category_name_used_twice_stops(annotated):
    annotated.content["categories"].append({"id": 8, "name": "cat"})
    with pytest.raises(DataError, match="the category name 'cat' is used more than once"):
        annotated.load()


@pytest.mark.parametrize("fields", [{"bbox": [1, 2, 3]}, {"bbox": ["a", 1, 2, 3]}, {"bbox": None}])
def test_an_annotation_without_four_numbers_stops_with_its_place(annotated, fields):
    annotated.add_box("a.jpg", BOX, **fields)
    with pytest.raises(
        DataError, match=r"train.json: annotations\[1\] needs .* bbox of four numbers"
    ):
        annotated.load()


@pytest.mark.parametrize("key", ["image_id", "category_id", "bbox"])
def test_an_annotation_that_lacks_a_field_stops_with_its_place(annotated, key):
    del annotated.content["annotations"][0][key]
    with pytest.raises(DataError, match=rf"annotations\[0\] needs .*'{key}'"):
        annotated.load()


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_a_missing_list_is_named(written, annotated, key):
    assert f"need a list '{key}'" in written(json.dumps({**annotated.content, key: None}))


def test_malformed_json_is_told_with_file_and_line(written, annotated):
    message = written('{"images": [],\n "annotations": [}\n}')
    assert f"{annotated.annotation_file}:2: not valid JSON" in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "expected a JSON object"),
        ("[" * 100_000, "nested too deeply"),
        (f"[{'9' * 5000}]", "Exceeds the limit (4300 digits)"),
        (b"\xff\xfe\x00", "not valid JSON"),
        ("", ":1: not valid JSON"),
    ],
    ids=["a list", "deep", "digits", "binary", "empty"],
)
def test_other_files_are_refused(written, text, problem):
    assert problem in written(text)


def test_a_missing_annotation_file_is_named(annotated):
    annotated.write()
    annotated.annotation_file.unlink()
    annotated.write = lambda: None
    with pytest.raises(DataError, match=r"cannot read .*train\.json: No such file"):
        annotated.load()


def test_a_byte_order_mark_is_read_over(annotated):
    write = annotated.write

    def write_with_mark():
        write()
        text = annotated.annotation_file.read_bytes()
        annotated.annotation_file.write_bytes(b"\xef\xbb\xbf" + text)

    annotated.write = write_with_mark
    assert annotated.load().num_boxes == 1
