"""Folders of YOLO's label files that have no data.yaml."""

import json
import re

import pytest

from keras_retinanet.data.layouts.detect_format import detect_format
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import ConfigError

ROW = "1 .5 .5 .5 .5\n"


@pytest.fixture
def make(tmp_path, picture):
    """A function: images, then texts by name -> the folder."""

    def write(images, texts):
        for name in images:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture())
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


CLASSES = "cat\ndog\n"
LAYOUTS = {
    "labelimg": (["a.jpg"], {"a.txt": ROW, "classes.txt": CLASSES}, ["train"]),
    "label studio": (
        ["images/a.jpg"],
        {"labels/a.txt": ROW, "classes.txt": CLASSES, "notes.json": json.dumps({"categories": []})},
        ["train"],
    ),
    "names among the labels": (
        ["images/a.jpg"],
        {"labels/a.txt": ROW, "labels/classes.txt": CLASSES},
        ["train"],
    ),
    "roboflow darknet": (
        ["train/a.jpg", "valid/b.jpg", "test/c.jpg"],
        {
            f"{s}/{n}.txt": t
            for s, n in (("train", "a"), ("valid", "b"), ("test", "c"))
            for n, t in ((n, ROW), ("_darknet", ""))
        }
        | {f"{s}/_darknet.labels": CLASSES for s in ("train", "valid", "test")},
        ["train", "val", "test"],
    ),
    "folders of splits": (
        ["images/Train/a.jpg", "images/Validation/b.jpg"],
        {"labels/Train/a.txt": ROW, "labels/Validation/b.txt": ROW, "obj.names": CLASSES},
        ["train", "val"],
    ),
    "splits that hold both": (
        ["train/images/a.jpg", "val/images/b.jpg"],
        {"train/labels/a.txt": ROW, "val/labels/b.txt": ROW, "classes.txt": CLASSES},
        ["train", "val"],
    ),
    "cvat": (
        ["obj_train_data/a.jpg", "obj_valid_data/b.jpg"],
        {
            "obj_train_data/a.txt": ROW,
            "obj_valid_data/b.txt": ROW,
            "obj.names": CLASSES,
            "obj.data": "classes = 2\ntrain = data/train.txt\n",
            "train.txt": "data/obj_train_data/a.jpg\n",
            "valid.txt": "data/obj_valid_data/b.jpg\n",
        },
        ["train", "val"],
    ),
    "fiftyone": (
        ["data/a.jpg"],
        {"data/a.txt": ROW, "obj.names": CLASSES, "images.txt": "data/a.jpg\n"},
        ["train"],
    ),
    "names in a yaml": (
        ["images/a.jpg"],
        {"labels/a.txt": ROW, "data.yaml": "nc: 2\nnames: [cat, dog]\n"},
        ["train"],
    ),
}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_folder_without_a_yaml(make, name):
    images, texts, splits = LAYOUTS[name]
    folder = make(images, texts)
    assert split_names(folder) == splits
    for split in splits:
        dataset = load_dataset(folder, split)
        assert dataset.class_names == ("cat", "dog")
        assert dataset.labels.tolist() == [1]
        assert not [f for f in dataset.findings if f.action != "noted"]


def test_without_names_it_is_told_how_to_name_them(make):
    folder = make(["a.jpg"], {"a.txt": ROW})
    with pytest.raises(ConfigError, match=r"no names of classes: write classes\.txt"):
        detect_format(folder)


@pytest.mark.parametrize("name", ["data.yaml", "classes.txt"])
def test_a_part_of_a_data_set_names_the_whole(make, name):
    folder = make(["train/images/a.jpg"], {"train/labels/a.txt": ROW, name: "names: [cat, dog]\n"})
    message = rf"no names of classes: {name} lies in {re.escape(str(folder))}: give that folder"
    with pytest.raises(ConfigError, match=message):
        detect_format(folder / "train")


def test_lists_of_different_names_stop(make):
    texts = {"train/a.txt": ROW, "val/b.txt": ROW}
    names = {"train/classes.txt": "cat\n", "val/classes.txt": "dog\n"}
    folder = make(["train/a.jpg", "val/b.jpg"], texts | names)
    with pytest.raises(ConfigError, match="list different classes"):
        detect_format(folder)


@pytest.mark.parametrize(
    "texts",
    [
        {"a.xml": "<annotation/>", "classes.txt": CLASSES},
        {"a.txt": "a picture of a cat\n", "classes.txt": CLASSES},
        {"a.txt": "Car 0 0 0 8 4 40 30 1 1 1 1 1 1 1\n", "classes.txt": CLASSES},
    ],
)
def test_what_lies_beside_other_formats_is_not_taken_for_yolo(make, texts):
    from keras_retinanet.data.layouts.yolo_layouts import yolo_layout

    assert yolo_layout(make(["a.jpg"], texts)) is None
