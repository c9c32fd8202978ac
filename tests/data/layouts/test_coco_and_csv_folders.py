"""Folders of COCO and CSV files as tools write them, each read without a data YAML."""

import json

import numpy as np
import pytest

from keras_retinanet.data.source import load_dataset, split_names

BOX = (8, 4, 40, 30)
HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def coco_text(name):
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": name, "width": 64, "height": 48}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 4, 32, 26]}],
            "categories": [{"id": 1, "name": "cat"}],
        }
    )


# Images, and annotations by file; the splits are told by the names.
COCO = {
    "plain names": ("images/{s}/{s}.jpg", "annotations/{s}.json", "{s}.jpg", ["train", "val"]),
    "capitals": (
        "images/{s}/{s}.jpg",
        "annotations/instances_{s}.json",
        "{s}.jpg",
        ["Train", "Validation"],
    ),
    "beside folders": ("{s}/{s}.jpg", "{s}.json", "{s}.jpg", ["train", "valid"]),
    "fiftyone": ("{s}/data/{s}.jpg", "{s}/labels.json", "{s}.jpg", ["train", "val"]),
    "roboflow": ("{s}/{s}.jpg", "{s}/_annotations.coco.json", "{s}.jpg", ["train", "valid"]),
    "label studio": ("images/{s}.jpg", "result.json", "..\\upload\\4\\{s}.jpg", ["a"]),
    "cvat": ("images/{s}.jpg", "annotations/instances_{s}.json", "{s}.jpg", ["default"]),
}
CSV = {
    "roboflow": ("{s}/{s}.jpg", "{s}/_annotations.csv", ["train", "valid", "test"]),
    "classic": ("images/{s}/{s}.jpg", "{s}_labels.csv", ["train", "test"]),
    "classic in data": ("images/{s}/{s}.jpg", "data/{s}_labels.csv", ["train", "test"]),
    "sku110k": ("images/{s}_0.jpg", "annotations/annotations_{s}.csv", ["train", "val"]),
}


def check(folder, num_splits):
    names = split_names(folder)
    assert len(names) == num_splits
    for name in names:
        dataset = load_dataset(folder, name)
        np.testing.assert_array_equal(dataset.boxes, [BOX])
        assert dataset.class_names == ("cat",)


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("layout", COCO)
def test_coco(tmp_path, picture, layout):
    image, annotations, name, splits = COCO[layout]
    for s in splits:
        put(tmp_path / image.format(s=s), picture())
        put(tmp_path / annotations.format(s=s), coco_text(name.format(s=s)))
    put(tmp_path / "notes.json", '{"written by": "hand"}')
    put(tmp_path / "README.dataset.txt", "about")
    check(tmp_path, len(splits))


@pytest.mark.parametrize("layout", CSV)
def test_csv(tmp_path, picture, layout):
    image, annotations, splits = CSV[layout]
    for s in splits:
        path = tmp_path / image.format(s=s)
        put(path, picture())
        text = f"{HEADER}{path.name},64,48,cat,8,4,40,30\n"
        put(tmp_path / annotations.format(s=s), text)
    check(tmp_path, len(splits))
