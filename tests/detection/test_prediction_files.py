"""Detections as files of several kinds, which others read, and earlier ones of the folder."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from keras_retinanet.data.dataset import Finding
from keras_retinanet.detection.prediction_files import (
    FORMATS,
    ImagePrediction,
    make_place,
    refuse_earlier,
    write_crops,
    write_predictions,
)
from keras_retinanet.errors import ConfigError

NAMES = ("cat", "a/b")


@pytest.fixture
def predictions(tmp_path):
    made = []
    for number, place in enumerate(["a.jpg", "sub/a.jpg", "a.png"]):
        file = tmp_path / "in" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100), (number, 0, 0)).save(file)
        boxes = np.float32([[10, 20, 110, 70], [0, 0, 200, 100]])[: 2 - number]
        labels, scores = np.array([1, 0])[: 2 - number], np.array([0.9, 0.6])[: 2 - number]
        made.append(ImagePrediction(file, Path(place), 200, 100, boxes, labels, scores))
    return made


@pytest.fixture
def written(predictions, tmp_path):
    finding = Finding("no image", "x.txt", "file passed over")
    make_place(tmp_path / "out")
    write_predictions(predictions, [finding], NAMES, tmp_path / "out", FORMATS)
    return tmp_path / "out"


def test_coco_is_read_by_pycocotools(written):
    coco = COCO(str(written / "predictions_coco.json"))
    assert len(coco.getImgIds()) == 3 and len(coco.getAnnIds()) == 3
    best = coco.loadAnns(coco.getAnnIds())[0]
    assert best["bbox"] == [10, 20, 100, 50] and best["score"] == 0.9
    assert coco.loadCats(best["category_id"])[0]["name"] == "a/b"


def test_csv_has_a_row_for_each_detection(written, predictions):
    with open(written / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["a/b", "cat", "a/b"]
    assert [float(rows[0][k]) for k in ("x1", "y1", "x2", "y2")] == [10, 20, 110, 70]
    assert rows[2]["file"] == str(predictions[1].file)


def test_yolo_labels_are_read_by_the_reader_of_yolo(written, tmp_path):
    labels = written / "labels"
    assert {str(p.relative_to(labels)) for p in labels.rglob("*.txt")} == {
        *("a.txt", "sub/a.txt", "a.png.txt", "classes.txt")
    }
    assert (labels / "a.png.txt").read_text() == ""
    assert (labels / "sub" / "a.txt").read_text() == "1 0.300000 0.450000 0.500000 0.500000 0.9\n"


def test_json_names_what_was_passed_over(written):
    content = json.loads((written / "predictions.json").read_text())
    assert [len(image["detections"]) for image in content["images"]] == [2, 1, 0]
    expected = {"file": "x.txt", "problem": "no image", "action": "file passed over"}
    assert content["passed_over"] == [expected]


def test_crops_are_the_objects(predictions, tmp_path):
    pixels = Image.open(predictions[0].file)
    write_crops(predictions[0], pixels, NAMES, tmp_path / "out")
    crops = {str(p.relative_to(tmp_path / "out")): p for p in (tmp_path / "out").rglob("*.jpg")}
    assert set(crops) == {"crops/a_b/a.jpg-1.jpg", "crops/cat/a.jpg-2.jpg"}
    assert Image.open(crops["crops/a_b/a.jpg-1.jpg"]).size == (100, 50)


def test_an_earlier_call_is_told_of_and_replaced_on_demand(written):
    (written / "mine.txt").touch()
    before = sorted(written.rglob("*"))
    with pytest.raises(ConfigError, match=r"earlier call \(predictions.json\): .*--overwrite"):
        refuse_earlier(written, overwrite=False)
    assert sorted(written.rglob("*")) == before
    refuse_earlier(written, overwrite=True)
    assert sorted(written.rglob("*")) == before  # they stay until there is something in their place
    make_place(written)
    assert [p.name for p in written.iterdir() if not p.name.startswith(".")] == ["mine.txt"]
    refuse_earlier(written, overwrite=False)


def test_a_data_set_s_folder_is_never_taken_for_an_earlier_call(tmp_path):
    for name in ("images/a.jpg", "labels/a.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    before = sorted(tmp_path.rglob("*"))
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"holds labels, which predict has not written"):
            refuse_earlier(tmp_path, overwrite=overwrite)
    make_place(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
