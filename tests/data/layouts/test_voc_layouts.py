"""Folders of XML files in the layouts of other tools than VOC's own."""

import pytest

from keras_retinanet.data.layouts.voc_layouts import voc_layout
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import DataError

XML = (
    "<annotation><filename>{}.jpg</filename><object><name>cat</name><bndbox><xmin>9</xmin>"
    "<ymin>5</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object></annotation>"
)
# images and annotations of a and b, image sets, and the splits.
LAYOUTS = {
    "labelimg": ("{n}.jpg", "{n}.xml", {}, {"train": "ab"}),
    "images alone": ("images/{n}.jpg", "images/{n}.xml", {}, {"train": "ab"}),
    "roboflow": ("{s}/{n}.jpg", "{s}/{n}.xml", {}, {"train": "a", "val": "b"}),
    "model maker": (
        "{s}/images/{n}.jpg", "{s}/Annotations/{n}.xml", {}, {"train": "a", "val": "b"},
    ),
    "kaggle": ("images/{n}.jpg", "annotations/{n}.xml", {}, {"train": "ab"}),
    "annots": ("Images/{n}.JPG", "annots/{n}.xml", {}, {"train": "ab"}),
    "pets": ("images/{n}.jpg", "annotations/xmls/{n}.xml", {}, {"train": "ab"}),
    "splits inside": (
        "images/{s}/{n}.jpg", "annotations/{s}/{n}.xml", {}, {"train": "a", "val": "b"},
    ),
    "no sets": ("JPEGImages/{n}.jpg", "Annotations/{n}.xml", {}, {"train": "ab"}),
    "cvat": (
        "JPEGImages/x/{n}.jpg",
        "Annotations/x/{n}.xml",
        {"Train": "x/a\n", "Validation": "x/b\n"},
        {"train": "a", "val": "b"},
    ),
    "cvat default": (
        "JPEGImages/{n}.jpg", "Annotations/{n}.xml", {"default": "a\nb\n"}, {"train": "ab"},
    ),
    "vott": (
        "JPEGImages/{n}.jpg",
        "Annotations/{n}.xml",
        {"cat_train": "a.jpg 1\n", "dog_train": "a.jpg -1\n", "cat_val": "b.jpg 1\n"},
        {"train": "a", "val": "b"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_folder_without_a_yaml(tmp_path, picture, name):
    images, annotations, sets, splits = LAYOUTS[name]
    for stem, split in (("a", "Train"), ("b", "validation")):
        for place, content in ((images, picture()), (annotations, XML.format(stem).encode())):
            path = tmp_path / place.format(n=stem, s=split)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for set_name, text in sets.items():
        path = tmp_path / "ImageSets" / "Main" / f"{set_name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "classes.txt").write_text("cat\n")  # LabelImg's
    assert split_names(tmp_path) == list(splits)
    for split, stems in splits.items():
        dataset = load_dataset(tmp_path, split)
        assert [i.rpartition("/")[2] for i in dataset.image_ids] == list(stems)
        assert dataset.boxes.tolist() == [[8, 4, 40, 30]] * len(stems)
        assert not dataset.findings


def test_an_image_without_xml_is_told(tmp_path, picture):
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(picture())
    for name in "ab":
        (tmp_path / f"{name}.xml").write_text(XML.format(name))
    dataset = load_dataset(tmp_path, "train")
    assert [(f.problem, f.action) for f in dataset.findings] == [
        ("image without an XML file", "image skipped")
    ]
    assert dataset.findings[0].where.endswith("c.jpg")


def test_folders_of_images_and_annotations_may_be_named(tmp_path, picture):
    for place, content in (("p/a.jpg", picture()), ("q/a.xml", XML.format("a").encode())):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_bytes(content)
    (tmp_path / "train.txt").write_text("a\n")
    top = "format: voc\nimages: p\nannotations: .\\q\nsplits: {train: train}\n"
    own = "format: voc\nsplits: {train: {images: p, annotations: q}}\n"
    for text in (top, own):
        (tmp_path / "data.yaml").write_text(text)
        assert load_dataset(tmp_path / "data.yaml", "train").num_boxes == 1


def test_files_of_other_formats_are_not_taken_for_voc(tmp_path, picture):
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "annotations.xml").write_text("<annotations><image name='a.jpg'/></annotations>")
    assert voc_layout(tmp_path) is None


def test_no_objects_at_all_are_no_traceback(tmp_path, picture):
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "a.xml").write_text("<annotation><filename>a.jpg</filename></annotation>")
    try:
        assert load_dataset(tmp_path, "train").num_boxes == 0
    except DataError as error:
        assert str(tmp_path) in str(error)
