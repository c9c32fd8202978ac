import re

import numpy as np
import pytest

from keras_retinanet.errors import DataError

BOX = (8, 4, 40, 30)


@pytest.fixture
def annotated(voc):
    """One image with one box."""
    voc.add_image()
    voc.add_box("a.jpg", BOX)
    return voc


def set_corners(folder, **texts):
    for tag, text in texts.items():
        folder.trees["a"].find(f"object/bndbox/{tag}").text = str(text)


def test_pixels_are_counted_from_1_and_inclusive(annotated):
    set_corners(annotated, xmin=1, ymin=11, xmax=64, ymax=20)
    np.testing.assert_array_equal(annotated.load().boxes, [(0, 10, 64, 20)])


def test_corners_may_hold_fractions(annotated):
    set_corners(annotated, xmin="9.5", xmax=" 40.25 ")
    annotated.settings["first_pixel"] = 1
    np.testing.assert_array_equal(annotated.load().boxes, [(8.5, 4, 40.25, 30)])
    assert not annotated.findings
    del annotated.settings["first_pixel"]
    np.testing.assert_array_equal(annotated.load().boxes, [(9.5, 5, 40.25, 30)])
    assert annotated.findings == {("pixels are counted from 0", "noted"): 1}


def test_few_fractions_among_many_boxes_do_not_tell_where_pixels_begin(annotated):
    del annotated.settings["first_pixel"]
    for _ in range(20):
        annotated.add_box("a.jpg", BOX)
    set_corners(annotated, xmax=40.5)
    assert annotated.load().boxes[1].tolist() == list(BOX)
    assert not annotated.findings


@pytest.mark.parametrize("corner", ["xmin", "ymin"])
def test_an_index_below_1_shows_that_pixels_are_counted_from_0(annotated, corner):
    del annotated.settings["first_pixel"]
    annotated.add_box("a.jpg", BOX)
    set_corners(annotated, **{corner: 0})
    assert annotated.load().boxes[1].tolist() == [9, 5, 40, 30]
    assert annotated.findings == {("pixels are counted from 0", "noted"): 1}


@pytest.mark.parametrize("swapped", ["x", "y", "xy"])
def test_swapped_corners_are_mended_and_reported(annotated, swapped):
    corners = {"x": {"xmin": 40, "xmax": 9}, "y": {"ymin": 30, "ymax": 5}}
    for axis in swapped:
        set_corners(annotated, **corners[axis])
    np.testing.assert_array_equal(annotated.load().boxes, [BOX])
    assert annotated.findings == {("corners of a box are swapped", "box mended"): 1}


@pytest.mark.parametrize(
    "corners", [{"xmin": 20, "xmax": 20}, {"ymin": 10, "ymax": 10}, {"xmin": 5, "xmax": 5.0}]
)
def test_a_box_from_a_pixel_to_itself_is_dropped_and_reported(annotated, corners):
    set_corners(annotated, **corners)
    assert annotated.load().num_boxes == 0
    assert annotated.findings == {("box of zero or negative size", "box dropped"): 1}


def test_a_box_flat_on_one_side_and_swapped_on_the_other_is_dropped(annotated):
    set_corners(annotated, xmin=40, xmax=9, ymin=10, ymax=10)
    assert annotated.load().num_boxes == 0
    assert annotated.findings == {("box of zero or negative size", "box dropped"): 1}


@pytest.mark.parametrize(
    ("text", "expected"), [("1", True), (" 1\n", True), ("0", False), (None, False)]
)
def test_difficult_objects_are_regions_to_ignore(annotated, text, expected):
    annotated.trees["a"].find("object/difficult").text = text
    assert annotated.load().is_ignored.tolist() == [expected]


def test_labels_follow_the_classes_of_the_yaml(annotated):
    annotated.settings["classes"] = ["cow", "dog", "cat"]
    dataset = annotated.load()
    assert dataset.class_names == ("cow", "dog", "cat")
    assert dataset.category_ids == (1, 2, 3)
    assert dataset.labels.tolist() == [2]


def test_classes_are_those_of_all_annotations_without_a_list(annotated):
    annotated.add_image("of_another_split.jpg")
    annotated.add_box("of_another_split.jpg", BOX, "ant")
    annotated.image_set = ["a"]
    annotated.settings = {}
    dataset = annotated.load()
    assert dataset.class_names == ("ant", "cat")
    assert dataset.labels.tolist() == [1]
    assert dataset.image_ids == ["a"]


def test_an_unknown_class_stops_and_is_named(annotated):
    annotated.add_box("a.jpg", BOX, "cow")
    with pytest.raises(
        DataError, match=r"a\.xml: object 2 has the unknown class 'cow'; known: \['cat'"
    ):
        annotated.load()


def test_an_object_without_a_name_stops(annotated):
    annotated.trees["a"].find("object/name").text = " "
    with pytest.raises(DataError, match=r"a\.xml: object 1 has no <name>"):
        annotated.load()


@pytest.mark.parametrize("text", ["", "12px", None])
def test_a_corner_that_is_no_number_stops_with_its_place(annotated, text):
    annotated.trees["a"].find("object/bndbox/ymin").text = text
    with pytest.raises(DataError, match=r"a\.xml: object 1 needs a bndbox of numbers"):
        annotated.load()


def test_a_size_that_is_no_number_stops(voc):
    voc.add_image(width="wide")
    with pytest.raises(DataError, match=r"a\.xml: <size> needs numbers"):
        voc.load()


@pytest.mark.parametrize("settings", [{}, {"classes": ["cat"]}], ids=["all read", "classes given"])
def test_malformed_xml_is_told_with_file_and_line(annotated, settings):
    annotated.settings = settings
    annotated.write()
    del annotated.trees["a"]
    annotated.image_set = ["a"]
    file = annotated.annotation_folder / "a.xml"
    file.write_text("<annotation>\n<object>\n</annotation>")
    with pytest.raises(DataError, match=r":3: not valid XML") as error:
        annotated.load()
    assert str(error.value).startswith(str(file))


def test_a_missing_annotation_is_named(annotated):
    annotated.image_set = ["a", "b"]
    with pytest.raises(DataError, match=r"cannot read .*b\.xml: No such file"):
        annotated.load()


def test_a_missing_image_set_is_named(annotated):
    annotated.settings["splits"] = {"train": "nothing"}
    with pytest.raises(DataError, match=r"cannot read the image set .*nothing\.txt"):
        annotated.load()


def test_an_image_listed_twice_stops(annotated):
    annotated.image_set = ["a", "a"]
    with pytest.raises(DataError, match="'a' is listed more than once"):
        annotated.load()


@pytest.mark.parametrize("line", ["a", "a  1", "a -1", " a 0 ", "a\r", ""])
def test_lines_of_an_image_set(annotated, line):
    annotated.image_set = [line, ""] if line else ["", "a"]
    assert annotated.load().image_ids == ["a"]


def test_names_that_end_in_a_number_stay_whole(voc):
    names = ["scan 0", "scan 1"]
    for name in names:
        voc.add_image(f"{name}.jpg")
    assert voc.load().image_ids == names
    voc.image_set = [f"{name}  1" for name in names]
    assert voc.load().image_ids == names


@pytest.mark.parametrize("suffix", [".JPG", ".png", ".jpeg"])
def test_the_image_is_found_by_the_name_of_its_annotation(voc, suffix):
    path = voc.add_image("a" + suffix)
    voc.trees["a"].find("filename").text = "wrong.jpg"
    assert voc.load().image_paths == [str(path)]


def test_else_the_image_is_found_by_filename(voc):
    path = voc.add_image("a.jpg")
    path.rename(path.with_name("other.jpg"))
    voc.trees["a"].find("filename").text = "other.jpg"
    assert voc.load().image_paths == [str(path.with_name("other.jpg"))]


def rewrite(folder, change, encoding="utf-8"):
    """Change the text of the one annotation."""
    folder.write()
    file = folder.annotation_folder / "a.xml"
    file.write_bytes(change(file.read_text()).encode(encoding))
    folder.write = lambda: None


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.replace("<annotation>", '<annotation xmlns="http://example.org/voc">'),
        lambda s: s.replace("<annotation>", '<v:a xmlns:v="x">').replace("</annotation>", "</v:a>"),
        lambda s: s.replace("annotation>", "Annotation>"),
        lambda s: s.replace("annotation>", "root>"),
        lambda s: s.replace("object>", "Object>"),
        lambda s: s.replace("object>", "item>"),
        lambda s: s.replace("bndbox>", "BndBox>"),
        lambda s: s.replace("<object>", "<objects><object>", 1).replace(
            "</annotation>", "</objects></annotation>"
        ),
        lambda s: s.replace("<object>", '<extra><o id="1">', 1)
        .replace("</object>", "</o></extra>", 1),
    ],
)  # fmt: skip
def test_xml_of_other_spellings(annotated, change):
    annotated.add_box("a.jpg", (1, 2, 30, 40), "dog")
    rewrite(annotated, change)
    dataset = annotated.load()
    assert dataset.boxes.tolist() == [list(BOX), [1, 2, 30, 40]]
    assert dataset.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "text",
    [
        "<annotations><image id='0' name='a.jpg'><box xtl='1'/></image></annotations>",
        "<annotation><filename>a.jpg</filename><bndbox><xmin>1</xmin></bndbox></annotation>",
        "<x/>",
        "",
    ],
)
@pytest.mark.parametrize("classes", [True, False])
def test_xml_that_cannot_be_understood_is_refused_with_the_file(annotated, text, classes):
    if not classes:
        annotated.settings = {}
    rewrite(annotated, lambda _: text)
    with pytest.raises(DataError, match=r"a\.xml"):
        annotated.load()


@pytest.mark.parametrize(
    ("declared", "encoding", "name"),
    [("gb2312", "gb2312", "\u72d7"), ("utf-16", "utf-16", "dog"), ("UTF-16", "utf-8", "dog"),
     ("shift_jis", "shift_jis", "\u72ac"), (None, "utf-16", "dog"), (None, "utf-8-sig", "\u72d7")],
)  # fmt: skip
def test_encodings(annotated, declared, encoding, name):
    annotated.settings = {}
    line = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    rewrite(annotated, lambda s: line + s.replace("cat", name), encoding)
    assert annotated.load().class_names == (name,)


def test_a_polygon_and_a_rotated_box_give_the_boxes_around_them(annotated):
    polygon = "<polygon><x1>5</x1><y1>6</y1><x2>30</x2><y2>8</y2><x3>20</x3><y3>40</y3></polygon>"
    rotated = "<robndbox><cx>30</cx><cy>20</cy><w>20</w><h>10</h><angle>{}</angle></robndbox>"
    rotated = rotated.format(np.pi / 2)
    more = "".join(f"<object><name>dog</name>{s}</object>" for s in (polygon, rotated))
    rewrite(annotated, lambda s: s.replace("</annotation>", more + "</annotation>"))
    np.testing.assert_allclose(annotated.load().boxes, [BOX, (5, 6, 30, 40), (25, 10, 35, 30)])
    assert sum(annotated.findings.values()) == 1


@pytest.mark.parametrize(
    "size",
    ["<width>0</width><height>0</height>", "<width/><height/>", "", "<width>64</width>"],
)
def test_sizes_that_say_nothing(annotated, size):
    rewrite(annotated, lambda s: re.sub("<size>.*</size>", f"<size>{size}</size>", s))
    assert annotated.load().num_boxes == 1
    assert not annotated.findings


@pytest.mark.parametrize("line", ["a.jpg 1", "a.JPG", "JPEGImages/a.jpg", "data\\x\\a.jpg -1", "A"])
def test_names_in_image_sets_as_tools_write_them(annotated, line):
    annotated.image_set = [line]
    assert annotated.load().image_ids == ["a"]
