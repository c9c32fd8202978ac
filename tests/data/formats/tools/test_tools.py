"""What labelling tools write is read exactly, and what cannot be read is told."""

import base64
import json
import zlib

import numpy as np
import pytest

from keras_retinanet.data.checks.check import check_dataset
from keras_retinanet.data.faults import collect_faults
from keras_retinanet.data.formats.tools.automl_csv import read_automl_csv
from keras_retinanet.data.formats.tools.cvat_images import read_cvat_images
from keras_retinanet.data.formats.tools.label_studio import read_label_studio
from keras_retinanet.data.formats.tools.labelled_images import rotated
from keras_retinanet.data.formats.tools.labelme import read_labelme
from keras_retinanet.data.formats.tools.supervisely import read_supervisely
from keras_retinanet.data.formats.tools.tool_source import READERS
from keras_retinanet.data.formats.tools.via import read_via
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import ConfigError, DataError
from tests.data.formats.tools.tool_folder import CREATEML, ToolFolder

BOXES = [("dog", 1, 2, 30, 40), ("cat", 8.5, 4.25, 40, 30)]


@pytest.fixture(params=sorted(READERS))
def tool(request, tmp_path, picture):
    return ToolFolder(tmp_path, picture, kind=request.param)


def fill(tool):
    for image in ("a.jpg", "b.jpg", "c.jpg"):
        tool.add_image(image)
    for name, *box in BOXES:
        tool.add_box("a.jpg", box, name)
    tool.add_box("b.jpg", BOXES[0][1:], "cat")
    return tool


def objects(dataset, image):
    rows = dataset.rows(image)
    names = [dataset.class_names[label] for label in dataset.labels[rows]]
    return list(zip(names, dataset.boxes[rows].tolist(), strict=True))


def check(dataset):
    assert dataset.class_names == ("cat", "dog")
    assert [path[-5:] for path in dataset.image_paths] == ["a.jpg", "b.jpg", "c.jpg"]
    found = [objects(dataset, image) for image in range(3)]
    assert [name for name, _ in found[0]] == ["dog", "cat"]
    expected = np.array([box for _, *box in BOXES])
    assert np.abs(np.array([box for _, box in found[0]]) - expected).max() < 1e-4
    assert [name for name, _ in found[1]] == ["cat"] and not found[2]


def test_every_format_is_read_exactly(tool):
    check(fill(tool).load())
    assert not tool.findings


def test_every_format_is_found_without_a_yaml(tool):
    fill(tool).write()
    (tool.root / "data.yaml").unlink()
    check(load_dataset(tool.root, "train"))


def test_every_file_can_be_named_itself(tool):
    fill(tool).write()
    place = {"labelme": "a.json", "supervisely": ".", "oidv4": "."}.get(tool.kind)
    if place is None:
        place = next(
            p.name for p in tool.root.iterdir() if p.suffix in (".json", ".xml", ".csv", ".jsonl")
        )
    (tool.root / "data.yaml").unlink()
    check(load_dataset(tool.root / place, "train"))


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "Validation"), ("train", "valid")])
def test_folders_of_splits(tool, picture, names):
    for name in names:
        part = ToolFolder(tool.root / name, picture, kind=tool.kind)
        part.root.mkdir()
        fill(part).write()
        (part.root / "data.yaml").unlink()
    assert split_names(tool.root) == ["train", "val"]
    for split in ("train", "val"):
        check(load_dataset(tool.root, split))


def test_all_splits_have_the_same_classes(tool, picture):
    for name, class_name in (("train", "cat"), ("val", "dog")):
        part = ToolFolder(tool.root / name, picture, kind=tool.kind)
        part.root.mkdir()
        part.add_image()
        part.add_box("a.jpg", (1, 2, 30, 40), class_name)
        part.write()
        (part.root / "data.yaml").unlink()
    assert load_dataset(tool.root, "val").class_names == ("cat", "dog")


def damaged(tool, old, new):
    """Write the folder with a text replaced in the file of the first image."""
    fill(tool).write()
    changed = 0
    for path in tool.root.rglob("*"):
        if path.suffix in (".json", ".xml", ".csv", ".jsonl", ".txt") and not changed:
            text = path.read_text()
            changed = text.count(old)
            path.write_text(text.replace(old, new, 1))
    assert changed
    return tool.root / "data.yaml"


def test_an_object_without_a_class_is_a_fault_and_the_others_are_read(tool):
    old, new = ('label_id": 1', 'label_id": 7') if tool.kind == "datumaro" else ("dog", "")
    if tool.kind == "cvat_images":
        old, new = 'label="dog"', 'label=""'
    path = damaged(tool, old, new)
    with pytest.raises(DataError):
        load_dataset(path, "train")
    with collect_faults() as faults:
        dataset = load_dataset(path, "train")
    assert len(faults.findings) == 1
    assert dataset.num_boxes == 2


def test_labels_that_are_not_there_are_told(tool):
    fill(tool).write()
    tool.write_yaml({"format": tool.kind, "splits": {"train": "elsewhere"}})
    with pytest.raises(DataError, match="there is no 'elsewhere'"):
        load_dataset(tool.root / "data.yaml", "train")


def test_automl_divides_its_rows(tmp_path, picture):
    tool = fill(ToolFolder(tmp_path, picture, kind="automl_csv"))
    tool.write()
    (tmp_path / "data.yaml").unlink()
    path = tmp_path / "labels.csv"
    path.write_text(path.read_text().replace("TRAIN,gs://b/b", "VALIDATION,gs://b/b"))
    assert split_names(path) == ["train", "val"]
    assert load_dataset(path, "val").image_ids == ["gs://b/b.jpg"]
    assert len(load_dataset(path, "train")) == 2


def test_cvat_divides_by_subset(tmp_path, picture):
    tool = fill(ToolFolder(tmp_path, picture, kind="cvat_images"))
    tool.write()
    (tmp_path / "data.yaml").unlink()
    path = tmp_path / "annotations.xml"
    text = path.read_text().replace("<image ", '<image subset="Train" ')
    path.write_text(text.replace('"Train" id="1"', '"Validation" id="1"'))
    assert split_names(tmp_path) == ["train", "val"]
    assert load_dataset(tmp_path, "val").image_ids == ["b.jpg"]


def test_cvat_s_images_without_a_subset_are_not_lost(tmp_path, picture):
    tool = fill(ToolFolder(tmp_path, picture, kind="cvat_images"))
    tool.write()
    (tmp_path / "data.yaml").unlink()
    path = tmp_path / "annotations.xml"
    text = path.read_text().replace('<image id="1"', '<image subset="Validation" id="1"')
    path.write_text(text)
    assert [len(load_dataset(tmp_path, split)) for split in ("train", "val")] == [2, 1]
    path.write_text(text.replace('<image id="2"', '<image subset="Train" id="2"'))
    with pytest.raises(ConfigError, match="'Train' and 'default' are both train"):
        load_dataset(tmp_path, "train")


def test_automl_s_first_row_is_read_whatever_the_image_is_called(tmp_path, picture):
    path = tmp_path / "labels.csv"
    for rows in ("TRAIN,gs://b/a,cat,.1,.1,,,.9,.9,,\n", "gs://b/a,cat,.1,.1,,,.9,.9,,\n"):
        path.write_text(rows)
        assert len(read_automl_csv(path).images[0].objects) == 1
        path.write_text("SET,IMAGE,LABEL,X1,Y1,,,X2,Y2,,\n" + rows)
        assert len(read_automl_csv(path).images) == 1


def test_labelme_s_files_in_folders_beside_others_are_read(tmp_path, picture):
    (tmp_path / "settings.json").write_text("{}")
    part = ToolFolder(tmp_path / "first", picture, kind="labelme")
    part.root.mkdir()
    fill(part).write()
    assert len(read_labelme(tmp_path).images) == 3


def test_two_tools_in_one_folder_are_told(tmp_path, picture):
    for kind in ("via", "createml"):
        fill(ToolFolder(tmp_path, picture, kind=kind)).write()
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(ConfigError, match=f"via.json .*{CREATEML}|{CREATEML} .*via.json"):
        load_dataset(tmp_path, "train")
    assert load_dataset(tmp_path / "via.json", "train").num_boxes == 3


def test_rotated_boxes_in_closed_form():
    assert rotated(10, 20, 30, 40, 0) == (10, 20, 40, 60)
    # A quarter turn clockwise about the top-left corner: width goes down, height to the left.
    assert rotated(10, 20, 30, 40, 90) == pytest.approx((-30, 20, 10, 50))
    side = 10 / np.sqrt(2)
    assert rotated(0, 0, 10, 10, 45) == pytest.approx((-side, 0, side, 2 * side))


def labelme_shapes(tmp_path, *shapes):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"shapes": shapes, "imagePath": "a.jpg"}))
    return read_labelme(path)


def test_labelme_s_shapes(tmp_path):
    labels = labelme_shapes(
        tmp_path,
        {"label": "x", "shape_type": "polygon", "points": [[5, 1], [1, 5], [9, 7]]},
        {"label": "x", "shape_type": "circle", "points": [[10, 10], [13, 14]]},
        {"label": "x", "points": [[1, 2], [3, 4], [0, 9]]},
        {"label": "x", "shape_type": "line", "points": [[1, 2], [3, 4]]},
        {"label": "x", "shape_type": "point", "points": [[1, 2]]},
    )
    boxes = [found.box for found in labels.images[0].objects]
    assert boxes == [(1, 1, 9, 7), (5, 5, 15, 15), (0, 2, 3, 9)]
    assert all(found.is_outline for found in labels.images[0].objects)
    assert [(f.problem, f.action) for f in labels.findings] == [
        ("shape line encloses nothing", "box dropped"),
        ("shape point encloses nothing", "box dropped"),
    ]


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"whatever": "cat"}, "cat"),
        ({"class": "cat", "colour": "red"}, "cat"),
        ({"Name": "cat", "occluded": "no"}, "cat"),
        ({"class": {"cat": True}}, "cat"),
        ({"class": {"cat": True, "dog": False}}, "cat"),
    ],
)
def test_via_s_class(tmp_path, attributes, name):
    assert via(tmp_path, attributes).images[0].objects[0].name == name


def via(tmp_path, attributes, shape=None):
    shape = shape or {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}
    path = tmp_path / "via.json"
    region = {"shape_attributes": shape, "region_attributes": attributes}
    path.write_text(json.dumps({"a": {"filename": "a.jpg", "regions": {"0": region}}}))
    return read_via(path)


def test_via_s_class_is_not_guessed(tmp_path):
    with pytest.raises(DataError, match="'colour', 'size': which of them is the class"):
        via(tmp_path, {"colour": "red", "size": "small"})
    with pytest.raises(DataError, match="2 classes"):
        via(tmp_path, {"class": {"cat": True, "dog": True}})


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ({"name": "circle", "cx": 10, "cy": 20, "r": 5}, (5, 15, 15, 25)),
        ({"name": "ellipse", "cx": 10, "cy": 20, "rx": 5, "ry": 2}, (5, 18, 15, 22)),
        (
            {"name": "polygon", "all_points_x": [4, 1, 9], "all_points_y": [2, 8, 5]},
            (1, 2, 9, 8),
        ),
    ],
)
def test_via_s_shapes(tmp_path, shape, box):
    assert via(tmp_path, {"c": "x"}, shape).images[0].objects[0].box == box


def test_cvat_s_shapes(tmp_path):
    path = tmp_path / "annotations.xml"
    path.write_text(
        '<annotations><image id="0" name="a.jpg" width="9" height="9">'
        '<polygon label="x" points="1.5,2;7,3;4,8.5"/>'
        '<box label="x" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"/>'
        '<mask label="x" rle="1" left="3" top="4" width="5" height="6"/>'
        '<polyline label="x" points="1,2;3,4"/><tag label="x"/></image></annotations>'
    )
    labels = read_cvat_images(path)
    boxes = [found.box for found in labels.images[0].objects]
    assert boxes[0] == (1.5, 2, 7, 8.5)
    assert boxes[1] == pytest.approx((15, 5, 25, 25))  # about its centre
    assert boxes[2] == (3, 4, 8, 10)
    assert [f.problem for f in labels.findings] == ["shape polyline encloses nothing"]


def test_supervisely_s_masks(tmp_path, picture):
    mask = base64.b64encode(zlib.compress(picture(12, 7, kind="PNG"))).decode()
    bitmap = {"origin": [3, 4], "data": mask}
    found = {"classTitle": "x", "geometryType": "bitmap", "bitmap": bitmap}
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "a.jpg.json").write_text(json.dumps({"objects": [found]}))
    assert read_supervisely(tmp_path).images[0].objects[0].box == (3, 4, 15, 11)


def studio(tmp_path, *annotations, address="/data/upload/3/0a1b2c3d-a.jpg"):
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([{"data": {"image": address}, "annotations": annotations}]))
    return read_label_studio(path)


def studio_result(kind, value):
    return {"type": kind, "value": value, "original_width": 200, "original_height": 100}


def test_label_studio_s_shapes(tmp_path):
    square = {"x": 50, "y": 50, "width": 10, "height": 20, "rotation": 90}
    labels = studio(
        tmp_path,
        {
            "result": [
                studio_result("rectanglelabels", {**square, "rectanglelabels": ["x"]}),
                studio_result(
                    "polygonlabels", {"points": [[0, 10], [50, 0]], "polygonlabels": ["x"]}
                ),
                studio_result(
                    "ellipselabels",
                    {"x": 50, "y": 50, "radiusX": 5, "radiusY": 10, "ellipselabels": ["x"]},
                ),
                studio_result("brushlabels", {"brushlabels": ["x"]}),
                {"type": "choices", "value": {"choices": ["good"]}},
            ]
        },
    )
    boxes = [found.box for found in labels.images[0].objects]
    # 20 x 20 pixels at (100, 50), turned to the left of its corner.
    assert boxes[0] == pytest.approx((80, 50, 100, 70))
    assert boxes[1:] == [(0, 0, 100, 10), (90, 40, 110, 60)]
    assert [f.problem for f in labels.findings] == ["result brushlabels encloses nothing"]


def test_label_studio_s_tasks_without_an_annotation_are_told(tmp_path):
    labels = studio(tmp_path, {"was_cancelled": True, "result": []})
    assert not labels.images
    assert [f.action for f in labels.findings] == ["image skipped"]


def test_label_studio_s_names(tmp_path):
    none = {"result": []}
    for address, name in (
        ("/data/local-files/?d=x%20y/a.jpg", "x y/a.jpg"),
        ("s3://bucket/b%C3%A9.jpg", "/bé.jpg"),
        ("https://example.org/c.jpg?token=1", "/c.jpg"),
    ):
        assert studio(tmp_path, none, address=address).images[0].name == name


@pytest.mark.parametrize("kind", ["labelme", "supervisely"])
def test_all_broken_files_are_told_by_the_check(tmp_path, picture, kind):
    tool = fill(ToolFolder(tmp_path, picture, kind=kind))
    tool.add_image("d.jpg")
    tool.add_box("d.jpg", (1, 2, 30, 40), "dog")
    tool.write()
    files = sorted(p for p in tmp_path.rglob("*.json"))
    files[0].write_text("{")
    files[1].write_bytes(b"\xff\xfe\xff")
    report = check_dataset(tmp_path / "data.yaml")
    errors = [f.where for f in report.findings if f.action == "stops training"]
    assert [where.startswith(str(path)) for where, path in zip(errors, files)] == [True, True]
    assert len(errors) == 2 and report.statistics["train"]["objects"] == 1
    with pytest.raises(DataError, match="not valid JSON"):
        load_dataset(tmp_path / "data.yaml", "train")
