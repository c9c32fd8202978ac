import json

import numpy as np
import pytest

from keras_retinanet.data.faults import collect_faults
from keras_retinanet.data.formats.coco import read_coco
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
        ("categories", {"id": "seven"}, "categories[0] needs id and name: ValueError"),
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


@pytest.mark.parametrize("name", ["pets", "none", "Background"])
def test_a_placeholder_as_category_0_is_left_out(annotated, name):
    annotated.content["categories"] = [
        {"id": 0, "name": name, "supercategory": "none"},
        {"id": 7, "name": "dog", "supercategory": "pets"},
    ]
    annotated.content["annotations"][0]["category_id"] = 7
    dataset = annotated.load()
    assert dataset.class_names == ("dog",)
    assert dataset.category_ids == (7,)
    assert dataset.labels.tolist() == [0]
    ((problem, action),) = annotated.findings
    assert problem.startswith("category 0 is a placeholder")
    assert action == "left out"
    assert dataset.findings[0].where == f"{annotated.annotation_file}: category {name!r}"
    annotated.add_box("a.jpg", BOX, category_id=0)
    assert annotated.load().class_names == (name, "dog")
    assert not annotated.findings


def test_a_class_that_has_the_placeholder_s_name_is_one(annotated):
    annotated.content["categories"] = [
        {"id": 0, "name": "dog", "supercategory": "none"},
        {"id": 7, "name": "dog", "supercategory": "dog"},
    ]
    annotated.content["annotations"][0]["category_id"] = 7
    assert annotated.load().category_ids == (7,)


@pytest.mark.parametrize("group", [None, "animal", "cat"])
def test_a_first_class_without_objects_is_no_placeholder(annotated, group):
    annotated.content["categories"] = [
        {"id": 0, "name": "person", "supercategory": "person"},
        {"id": 7, "name": "dog", "supercategory": group},
    ]
    annotated.content["annotations"][0]["category_id"] = 7
    assert annotated.load().class_names == ("person", "dog")
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
    annotated.content[kind].append(
        dict(annotated.content[kind][0], name="cow", file_name="other.jpg")
    )
    with pytest.raises(DataError, match=f"the {what} is used more than once"):
        annotated.load()


def test_a_category_name_used_twice_stops(annotated):
    annotated.content["categories"].append({"id": 8, "name": "cat"})
    with pytest.raises(DataError, match="the category name 'cat' is used more than once"):
        annotated.load()


@pytest.mark.parametrize("fields", [{"bbox": [1, 2, 3]}, {"bbox": ["a", 1, 2, 3]}, {"bbox": 7}])
def test_an_annotation_without_four_numbers_stops_with_its_place(annotated, fields):
    annotated.add_box("a.jpg", BOX, **fields)
    with pytest.raises(
        DataError, match=r"train.json: annotations\[1\] needs .* bbox of four numbers"
    ):
        annotated.load()


@pytest.mark.parametrize("key", ["image_id", "category_id"])
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


def change_all(kind, **values):
    """A change of every entry of a list; a value may be a function of the entry."""

    def change(content):
        for entry in content[kind]:
            entry.update({k: v(entry) if callable(v) else v for k, v in values.items()})

    return change


@pytest.mark.parametrize(
    "change",
    [
        change_all("annotations", image_id=lambda a: str(a["image_id"])),
        change_all("annotations", image_id=lambda a: float(a["image_id"])),
        change_all("images", id=lambda i: str(i["id"])),
        change_all("images", id=lambda i: float(i["id"])),
        change_all("annotations", category_id=lambda a: str(a["category_id"])),
        change_all("categories", id=lambda c: str(c["id"])),
        change_all("categories", id=lambda c: float(c["id"])),
        change_all("annotations", iscrowd="0"),
        change_all("annotations", iscrowd="false"),
        change_all("annotations", iscrowd=None),
        change_all("annotations", iscrowd=False),
        change_all("annotations", id=None),
        change_all("images", width="64", height="48"),
        change_all("images", width=None, height=0),
        change_all("annotations", bbox=lambda a: [str(v) for v in a["bbox"]]),
        change_all("annotations", bbox=lambda a: str(a["bbox"])),
        change_all("annotations", bbox=lambda a: ",".join(map(str, a["bbox"]))),
        change_all("annotations", bbox=lambda a: dict(zip("xywh", a["bbox"], strict=True))),
        change_all("annotations", bbox={"x1": 8, "y1": 4, "x2": 40, "y2": 30}),
        change_all("images", file_name="images\\a.jpg"),
        change_all("images", file_name="C:\\me\\a.jpg"),
        change_all("images", file_name="images/a.JPG"),
        change_all("images", file_name="a"),
    ],
)
def test_values_are_read_by_what_they_mean(annotated, change):
    change(annotated.content)
    dataset = annotated.load()
    np.testing.assert_array_equal(dataset.boxes, [BOX])
    assert dataset.labels.tolist() == [0]
    assert dataset.is_ignored.tolist() == [False]
    assert dataset.category_ids == (0, 7)
    assert not annotated.findings


@pytest.mark.parametrize("value", ["1", "true", True, 1.0])
def test_a_crowd_may_be_told_by_a_text(annotated, value):
    annotated.add_box("a.jpg", BOX, iscrowd=value)
    assert annotated.load().is_ignored.tolist() == [False, True]


@pytest.mark.parametrize("value", ["maybe", 2, -1, [], 0.5])
def test_an_iscrowd_that_is_no_flag_stops(annotated, value):
    annotated.add_box("a.jpg", BOX, iscrowd=value)
    with pytest.raises(DataError, match=r"annotations\[1\] needs .* is neither 0 nor 1"):
        annotated.load()


def test_ids_of_one_text_and_two_kinds_are_told_apart(annotated):
    annotated.content["images"].append({"id": "1000", "file_name": "images/a.jpg"})
    annotated.add_box("a.jpg", (1, 2, 30, 40), image_id="1000")
    dataset = annotated.load()
    assert dataset.image_ids == [1000, "1000"]
    assert dataset.row_splits.tolist() == [0, 1, 2]


@pytest.mark.parametrize("bbox", [[], None, "", {}, [None] * 4, False])
def test_an_annotation_without_a_bbox_is_dropped_and_counted(annotated, bbox):
    fields = {} if bbox is False else {"bbox": bbox}
    annotated.add_box("a.jpg", BOX, **fields)
    if bbox is False:
        del annotated.content["annotations"][1]["bbox"]
    assert annotated.load().num_boxes == 1
    assert annotated.findings == {("annotation without a bbox", "box dropped"): 1}


def test_a_polygon_gives_the_box_where_there_is_none(annotated):
    polygon = [[10, 20, 30, 20, 30, 44], [5.5, 21, 12, 30, 6, 30]]
    annotated.add_box("a.jpg", BOX, bbox=[], segmentation=polygon)
    np.testing.assert_array_equal(annotated.load().boxes[1], (5.5, 20, 30, 44))
    assert annotated.findings == {
        ("annotation without a bbox: that of its polygon is taken", "noted"): 1
    }


@pytest.mark.parametrize("area", [0, 1, 1.0, "1"])
def test_areas_that_are_all_0_or_1_are_none(annotated, area):
    annotated.add_box("a.jpg", (0, 0, 10, 20))
    change_all("annotations", area=area)(annotated.content)
    assert annotated.load().areas.tolist() == [32 * 26, 200]
    assert list(annotated.findings.values()) == [1]


@pytest.mark.parametrize("area", [None, "", "large", []])
def test_an_area_that_is_no_number_is_that_of_the_box(annotated, area):
    annotated.add_box("a.jpg", BOX, area=area)
    assert annotated.load().areas.tolist() == [32 * 26] * 2
    problem = "area that is no number: that of the box is taken"
    assert annotated.findings == {(problem, "noted"): 1}


def as_corner_boxes(annotated, **fields):
    annotated.content["annotations"] = []
    for box in ((10, 20, 60, 45), (30, 5, 50, 40), (20, 15, 62, 47)):
        annotated.add_box("a.jpg", box, bbox=list(box), **fields)


@pytest.mark.parametrize("declared", [True, False])
def test_corners_in_place_of_sizes_are_refused_as_they_leave_the_image(annotated, declared):
    as_corner_boxes(annotated)
    if not declared:
        change_all("images", width=None)(annotated.content)
    with pytest.raises(DataError, match=r"look like x1,y1,x2,y2 .*leave their images.*boxes: xyxy"):
        annotated.load()


def test_corners_in_place_of_sizes_are_refused_as_they_disagree_with_the_areas(annotated):
    annotated.content["annotations"] = []
    annotated.add_box("a.jpg", BOX, bbox=[8, 4, 18, 20], area=160)
    with pytest.raises(DataError, match=r"look like x1,y1,x2,y2 .*areas are"):
        annotated.load()
    annotated.content["annotations"][0]["area"] = 18 * 20
    assert annotated.load().num_boxes == 1


def test_corners_are_read_where_the_data_yaml_says_so(annotated):
    as_corner_boxes(annotated)
    annotated.write()
    annotated.write_yaml(
        {
            "format": "coco",
            "boxes": "xyxy",
            "splits": {"train": {"images": "images", "annotations": "train.json"}},
        }
    )
    annotated.write = lambda: None
    expected = [(10, 20, 60, 45), (30, 5, 50, 40), (20, 15, 62, 47)]
    np.testing.assert_array_equal(annotated.load().boxes, expected)


def test_that_all_are_crowds_is_said(annotated):
    change_all("annotations", iscrowd=1)(annotated.content)
    annotated.write()
    raw = read_coco(annotated.image_folder, annotated.annotation_file)
    assert raw.findings[0].problem.startswith("every annotation has iscrowd 1")


def test_an_image_listed_twice_is_one(annotated):
    annotated.content["images"].append(dict(annotated.content["images"][0]))
    dataset = annotated.load()
    assert (len(dataset), dataset.num_boxes) == (1, 1)
    assert annotated.findings == {("image listed twice", "noted"): 1}


def test_all_faults_are_collected_with_their_places(annotated):
    annotated.add_image("b.jpg")
    content = annotated.content
    annotated.add_box("b.jpg", BOX, bbox=[1, 2])
    annotated.add_box("b.jpg", BOX, category_id=55)
    annotated.add_box("a.jpg", BOX, iscrowd="maybe")
    content["images"].append({"id": 5})
    annotated.add_box("b.jpg", BOX, image_id=5)
    content["categories"].append({"id": 9})
    annotated.write()
    with collect_faults() as faults:
        raw = read_coco(annotated.image_folder, annotated.annotation_file)
    places = sorted(f.where.removeprefix(f"{annotated.annotation_file}: ") for f in faults.findings)
    assert [place.partition(":")[0] for place in places] == [
        "annotations[1]",
        "annotations[2]",
        "annotations[3]",
        "categories[2]",
        "images[2]",
    ]
    assert len(raw.boxes) == 1
    assert not raw.findings


def test_a_list_alone_is_told_for_what_it_is(written):
    message = written(json.dumps([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]))
    assert "a list of 1 entries with 'image_id', 'category_id', 'bbox'" in message
    assert "file that holds the images and categories" in message


def test_utf_16_is_read(annotated):
    annotated.write()
    text = annotated.annotation_file.read_text(encoding="utf-8")
    annotated.annotation_file.write_bytes(text.encode("utf-16"))
    annotated.write = lambda: None
    assert annotated.load().num_boxes == 1


def test_a_missing_image_is_not_replaced_by_that_of_another_split(coco):
    for name in ("a.jpg", "b.jpg"):
        coco.add_image(name)
        coco.add_box(name, BOX)
    (coco.root / "other").mkdir()
    (coco.image_folder / "b.jpg").rename(coco.root / "other" / "b.jpg")
    coco.write()
    raw = read_coco(coco.image_folder, coco.annotation_file)
    assert raw.image_paths == [str(coco.image_folder / name) for name in ("a.jpg", "b.jpg")]
