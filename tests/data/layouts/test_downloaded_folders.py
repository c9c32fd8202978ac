"""Folders as tools let one download them: records, Open Images, columns of splits, twin exports."""

import json
import logging
import shutil

import numpy as np
import pytest

from keras_retinanet.data.convert.convert import convert
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import ConfigError, DataError

BOX = (8, 4, 40, 30)
OTHER = (1, 2, 30, 20)


@pytest.fixture
def records(coco):
    """Two images, one of a cat and one of a dog, as TFRecords."""
    for name, box in (("cat", BOX), ("dog", OTHER)):
        coco.add_image(f"{name}.jpg")
        coco.add_box(f"{name}.jpg", box, name)
    coco.write()
    convert(coco.root / "data.yaml", coco.root / "as", target="tfrecord")
    (record,) = (coco.root / "as").rglob("*.tfrecord*")
    (label_map,) = (coco.root / "as").rglob("*.pbtxt")
    return record, label_map


def put(source, *places):
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)


def check_records(folder, names):
    assert split_names(folder) == names
    for name in names:
        dataset = load_dataset(folder, name)
        np.testing.assert_array_equal(dataset.boxes, [BOX, OTHER])
        assert [dataset.class_names[label] for label in dataset.labels] == ["cat", "dog"]


def test_roboflow_s_records(records, tmp_path):
    record, label_map = records
    for split in ("train", "valid", "test"):
        put(record, tmp_path / "rf" / split / "cells.tfrecord")
        put(label_map, tmp_path / "rf" / split / "cells_label_map.pbtxt")
    check_records(tmp_path / "rf", ["train", "val", "test"])
    text = label_map.read_text().replace("cat", "cow")
    (tmp_path / "rf" / "valid" / "cells_label_map.pbtxt").write_text(text)
    with pytest.raises(ConfigError, match=r"cells_label_map\.pbtxt differ"):
        split_names(tmp_path / "rf")


@pytest.mark.parametrize("place", [".", "data", "Annotations"])
def test_records_of_the_object_detection_api(records, tmp_path, place):
    record, label_map = records
    folder = tmp_path / "api"
    put(record, folder / place / "train.record", folder / place / "Test.Record")
    put(record, folder / place / "all.record")  # the whole that the two are parts of
    put(label_map, folder / place / "label_map.pbtxt")
    check_records(folder, ["train", "test"])


def write_oidv4(folder, picture, *, name="Alarm clock"):
    for class_name, box in ((name, BOX), ("Dog", OTHER)):
        put_image = folder / class_name / "0a1b.jpg"
        (put_image.parent / "Label").mkdir(parents=True)
        put_image.write_bytes(picture())
        row = " ".join(map(str, (class_name, *box)))
        (put_image.parent / "Label" / "0a1b.txt").write_text(f"{row}\n")


@pytest.mark.parametrize("above", ["", "Dataset", "OID/Dataset"])
def test_oidv4_puts_the_objects_of_an_image_together(tmp_path, picture, above):
    write_oidv4(tmp_path / above / "train", picture)
    write_oidv4(tmp_path / above / "validation", picture)
    assert split_names(tmp_path) == ["train", "val"]
    for split in ("train", "val"):
        dataset = load_dataset(tmp_path, split)
        assert len(dataset) == 1
        np.testing.assert_array_equal(dataset.boxes, [BOX, OTHER])
        assert [dataset.class_names[label] for label in dataset.labels] == ["Alarm clock", "Dog"]


def test_oidv4_tells_images_without_labels_and_rows_that_are_none(tmp_path, picture):
    write_oidv4(tmp_path / "train", picture)
    (tmp_path / "train" / "Dog" / "more.jpg").write_bytes(picture())
    findings = load_dataset(tmp_path, "train").findings
    assert [f.problem for f in findings] == ["image without a label file"]
    label = tmp_path / "train" / "Dog" / "Label" / "0a1b.txt"
    label.write_text("Dog 1 2 x 4\n")
    with pytest.raises(DataError, match=rf"{label}:1: expected NAME x1 y1 x2 y2"):
        load_dataset(tmp_path, "train")


def test_open_images_by_fiftyone(tmp_path, picture):
    header = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
        "IsDepiction,IsInside\n"
    )
    for split in ("train", "validation"):
        for part in ("data", "labels", "metadata"):
            (tmp_path / split / part).mkdir(parents=True)
        (tmp_path / split / "data" / "0a1b.JPG").write_bytes(picture(64, 48))
        row = "0a1b,xclick,/m/1,1,0.125,0.625,0.25,0.5,0,0,0,0,0\n"
        (tmp_path / split / "labels" / "detections.csv").write_text(header + row)
        (tmp_path / split / "metadata" / "classes.csv").write_text("/m/1,Cat\n")
    assert split_names(tmp_path) == ["train", "val"]
    dataset = load_dataset(tmp_path, "val")
    np.testing.assert_array_equal(dataset.boxes, [(8, 12, 40, 24)])
    assert dataset.class_names == ("Cat",)


def test_a_column_of_splits(tmp_path, picture):
    rows = [("a", "TRAIN", "cat", BOX), ("b", "valid", "dog", OTHER), ("c", "Test", "cat", BOX)]
    rows.append(("a", "TRAIN", "dog", OTHER))
    text = "".join(f"{n}.jpg,{','.join(map(str, box))},{c},{s}\n" for n, s, c, box in rows)
    (tmp_path / "boxes.csv").write_text("filename,xmin,ymin,xmax,ymax,class,Split\n" + text)
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(picture())
    for data in (tmp_path, tmp_path / "boxes.csv"):
        assert split_names(data) == ["train", "val", "test"]
        np.testing.assert_array_equal(load_dataset(data, "train").boxes, [BOX, OTHER])
        val = load_dataset(data, "val")
        np.testing.assert_array_equal(val.boxes, [OTHER])
        assert val.class_names == ("cat", "dog") and val.labels.tolist() == [1]
    path = tmp_path / "boxes.csv"
    sound = path.read_text()
    path.write_text(sound + text.split("\n")[0].replace("TRAIN", "valid") + "\n")
    with pytest.raises(DataError, match=r"boxes.csv:6: the image is in two splits"):
        load_dataset(tmp_path, "train")
    path.write_text(sound.replace("TRAIN", "third"))
    with pytest.raises(ConfigError, match="column of splits says 'third'"):
        split_names(tmp_path)


def via_json(regions):
    return json.dumps({"a.jpg9": {"filename": "a.jpg", "size": 9, "regions": regions}})


def region(box, **attributes):
    x1, y1, x2, y2 = box
    shape = {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
    return {"shape_attributes": shape, "region_attributes": attributes}


def test_twin_exports_of_via(tmp_path, picture, caplog):
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "via_export.json").write_text(via_json([region(BOX, kind="cat")]))
    shape = '"{""name"":""rect"",""x"":8,""y"":4,""width"":32,""height"":26}"'
    title = (
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
        "region_attributes"
    )
    (tmp_path / "via_export.csv").write_text(
        f'{title}\na.jpg,9,"{{}}",1,0,{shape},"{{""kind"":""cat""}}"\n'
    )
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": "1", "category_id": 1, "bbox": [8, 4, 32, 26]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "via_export_coco.json").write_text(json.dumps(coco))
    with caplog.at_level(logging.WARNING):
        dataset = load_dataset(tmp_path, "train")
    np.testing.assert_array_equal(dataset.boxes, [BOX])
    assert dataset.class_names == ("cat",)
    assert "via_export.csv is passed over" in caplog.text
    assert "COCO's files are passed over" in caplog.text


def test_via_regions_without_attributes_are_objects(tmp_path, picture):
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "via.json").write_text(via_json([region(BOX), region(OTHER)]))
    dataset = load_dataset(tmp_path, "train")
    assert dataset.class_names == ("object",) and dataset.num_boxes == 2
    assert any("all are of the class 'object'" in f.problem for f in dataset.findings)
    (tmp_path / "via.json").write_text(via_json([region(BOX, kind="cat"), region(OTHER)]))
    dataset = load_dataset(tmp_path, "train")
    assert dataset.class_names == ("cat",) and dataset.num_boxes == 1
    assert [f.problem for f in dataset.findings] == ["region without a class"]


def test_labelme_tells_images_without_a_file(tmp_path, picture):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(picture())
    shape = {"label": "cat", "points": [BOX[:2], BOX[2:]], "shape_type": "rectangle"}
    (tmp_path / "a.json").write_text(json.dumps({"shapes": [shape], "imagePath": "a.jpg"}))
    findings = load_dataset(tmp_path, "train").findings
    assert [(f.problem, f.where[-5:]) for f in findings] == [("image without a JSON file", "b.jpg")]


def test_the_folder_of_a_coco_file_alone(coco):
    """Its images lie outside of the folder that is named."""
    coco.add_image("a.jpg")
    coco.add_box("a.jpg", BOX)
    coco.write()
    (coco.root / "annotations").mkdir()
    (coco.root / "train.json").rename(coco.root / "annotations" / "train.json")
    dataset = load_dataset(coco.root / "annotations", "train")
    np.testing.assert_array_equal(dataset.boxes, [BOX])
