"""Folders and files in place of a data YAML."""

import json
import shutil

import pytest

from keras_retinanet.data.layouts.detect_format import DETECTORS, detect_format
from keras_retinanet.data.source import SOURCES, how_to_split, load_dataset, split_names
from keras_retinanet.errors import ConfigError, DataError

BOX = (8, 4, 40, 30)


@pytest.fixture
def make(tmp_path):
    """A function: names of files, folders with a slash at the end; text by name -> the folder."""

    def write(*names, **texts):
        for name in (*names, *texts):
            path = tmp_path / "data" / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(texts.get(name, ""))
        return tmp_path / "data"

    return write


def detected(folder):
    settings, base = detect_format(folder)
    assert base == folder
    return settings


def test_formats_can_be_detected():
    assert {"coco", "csv", "kitti", "open_images", "voc"} <= set(SOURCES) & set(DETECTORS)


@pytest.mark.parametrize("places", ["{}/", "images/{}/"])
def test_coco(make, places):
    folder = make(
        "annotations/instances_train2017.json",
        "annotations/instances_val2017.json",
        "annotations/captions_val2017.json",
        *(places.format(name) for name in ("train2017", "val2017")),
    )
    assert detected(folder) == {
        "format": "coco",
        "splits": {
            split: {
                "images": places.format(f"{split}2017")[:-1],
                "annotations": f"annotations/instances_{split}2017.json",
            }
            for split in ("train", "val")
        },
    }


def test_coco_with_one_folder_of_images(make):
    folder = make("annotations/instances_train.json", "images/")
    assert detected(folder)["splits"]["train"]["images"] == "images"


def test_coco_of_roboflow(make):
    folder = make(*(f"{name}/_annotations.coco.json" for name in ("train", "valid", "test")))
    splits = detected(folder)["splits"]
    assert list(splits) == ["train", "val", "test"]
    assert splits["val"] == {"images": "valid", "annotations": "valid/_annotations.coco.json"}


def test_voc(make):
    sets = ("train", "val", "cat_train", "cat_val", "test")
    folder = make("Annotations/", *(f"ImageSets/Main/{name}.txt" for name in sets))
    assert detected(folder) == {
        "format": "voc",
        "root": ".",
        "splits": {"train": "train", "val": "val", "test": "test"},
    }


@pytest.mark.parametrize("place", ["training", "."])
def test_kitti(make, place):
    folder = make(f"{place}/image_2/", f"{place}/label_2/", "testing/image_2/")
    settings = detected(folder)
    assert settings == {"format": "kitti", "root": ".", "splits": {"train": {"folder": place}}}
    make("ImageSets/train.txt", "ImageSets/val.txt", "ImageSets/test.txt")
    assert detected(folder)["splits"] == {
        split: {"folder": place, "image_list": f"ImageSets/{split}.txt"}
        for split in ("train", "val")
    }


def test_kitti_of_cvat(make):
    folder = make("Train/image_2/", "Train/label_2/", "Validation/image_2/", "Validation/label_2/")
    assert detected(folder)["splits"] == {
        "train": {"folder": "Train"},
        "val": {"folder": "Validation"},
    }


def test_open_images(make):
    folder = make(
        "oidv6-train-annotations-bbox.csv",
        "validation-annotations-bbox.csv",
        "class-descriptions-boxable.csv",
        "train/",
        "images/validation/",
    )
    assert detected(folder) == {
        "format": "open_images",
        "classes": "class-descriptions-boxable.csv",
        "splits": {
            "train": {"images": "train", "annotations": "oidv6-train-annotations-bbox.csv"},
            "val": {
                "images": "images/validation",
                "annotations": "validation-annotations-bbox.csv",
            },
        },
    }


@pytest.mark.parametrize("first", ["train.csv", "annotations.csv"])
def test_csv(make, first):
    folder = make(first)
    assert detected(folder) == {"format": "csv", "splits": {"train": first}}
    make("val.csv", "classes.csv")
    assert detected(folder) == {
        "format": "csv",
        "splits": {"train": first, "val": "val.csv"},
        "classes": "classes.csv",
    }


@pytest.mark.parametrize("name", ["data.yaml", "coco128.yaml"])
def test_yolo(make, name):
    text = "path: ../x\ntrain: images/train\nval: images/val\nnames: {0: cat}\n"
    folder = make("config.yaml", **{name: text})
    expected = {"format": "yolo", "data_yaml": name, "splits": {"train": "train", "val": "val"}}
    assert detected(folder) == expected
    assert detect_format(folder / name) == (expected, folder)


def test_tfrecord(make):
    shards = [f"train-0000{i}-of-00002.tfrecord" for i in range(2)]
    folder = make(*shards, "val.tfrecord-00000-of-00001", "label_map.pbtxt")
    assert detected(folder) == {
        "format": "tfrecord",
        "splits": {"train": "train", "val": "val"},
        "label_map": "label_map.pbtxt",
    }
    for shard in shards:
        (folder / shard).unlink()
    make("train.tfrecord")
    assert detected(folder)["splits"]["train"] == "train.tfrecord"


def test_the_folder_s_own_yaml_comes_first(make):
    text = "format: voc\nroot: x\nsplits: {a: b}\n"
    folder = make("train.csv", "annotations/instances_train.json", **{"data.yaml": text})
    assert detected(folder) == {"format": "voc", "root": "x", "splits": {"a": "b"}}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "found nothing; known are COCO, VOC, YOLO, "),
        (("a.jpg", "b/", "c.txt"), "found 1 image (a.jpg), 1 other file (c.txt); known are"),
        ([f"{i:02d}.jpg" for i in range(20)], "20 images (00.jpg); known are"),
        (
            ("a.jpg",),
            "no file of annotations is among them: give the folder that holds both",
        ),
        (("train.csv", "Annotations/", "ImageSets/Main/val.txt"), "looks like voc and csv: name"),
        (
            ("train.csv", "Annotations/", "ImageSets/Main/val.txt"),
            "{format: voc, root: ., splits: ",
        ),
        (("Annotations/",), "is no data set of a known layout: found nothing"),
        (
            ("annotations/instances_train2014.json", "annotations/instances_train2017.json"),
            "train may be any of",
        ),
        (
            ("VOC2007/Annotations/", "VOC2007/ImageSets/Main/val.txt"),
            "VOC2007 looks like one: name the one to use",
        ),
        (("a-annotations-bbox.csv", "b-annotations-bbox.csv"), "train may be any of"),
    ],
)
def test_what_cannot_be_told_stops_in_one_line(make, names, message):
    folder = make(*names)
    folder.mkdir(exist_ok=True)
    with pytest.raises(ConfigError) as error:
        detect_format(folder)
    assert message in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_two_yolo_files_stop(make):
    text = "train: a\nnames: [cat]\n"
    folder = make(**{"a.yaml": text, "b.yaml": text})
    with pytest.raises(ConfigError, match=r"holds a\.yaml, b\.yaml: name the one to use"):
        detect_format(folder)
    assert detect_format(folder / "b.yaml")[0]["data_yaml"] == "b.yaml"


@pytest.mark.parametrize("name", ["missing", "missing.yaml", "missing.csv", "missing.json"])
def test_a_missing_path_is_named(tmp_path, name):
    with pytest.raises(ConfigError, match=f"cannot read .*{name}: No such file"):
        load_dataset(tmp_path / name, "train")


def write_each_layout(root, folder):
    """Make the layout that is detected out of what the test's folder of a format writes."""
    folder.add_image("a.png")
    folder.add_box("a.png", BOX)
    folder.write()
    (root / "data.yaml").unlink()
    if (root / "train.json").exists():
        (root / "annotations").mkdir()
        shutil.move(root / "train.json", root / "annotations" / "instances_train.json")


def test_a_folder_is_read_as_its_yaml_would_be(folder):
    write_each_layout(folder.root, folder)
    dataset = load_dataset(folder.root, "train")
    assert dataset.boxes.tolist() == [list(BOX)]
    assert split_names(folder.root) == ["train"]
    with pytest.raises(DataError, match=r"no split 'val': known: train; to have one: \w+") as error:
        load_dataset(folder.root, "val")
    assert str(error.value).endswith(how_to_split(folder.root))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train_fold1", "train"),
        ("my-val", "val"),
        ("valid", "val"),
        ("Validation2", "val"),
        ("test", "test"),
        ("values", "train"),
        ("retest", "train"),
        ("annotations", "train"),
    ],
)
def test_the_name_of_a_file_tells_its_split(make, name, split):
    path = make(f"{name}.csv") / f"{name}.csv"
    assert detect_format(path) == ({"format": "csv", "splits": {split: path.name}}, path.parent)


def test_a_csv_file_is_a_data_set(csv):
    write_each_layout(csv.root, csv)
    assert load_dataset(csv.root / "train.csv", "train").num_boxes == 1
    shutil.move(csv.root / "train.csv", csv.root / "my_val.csv")
    assert split_names(csv.root / "my_val.csv") == ["val"]
    assert load_dataset(str(csv.root / "my_val.csv"), "val").category_ids == (0, 7)


@pytest.mark.parametrize(
    ("annotations", "images", "split"),
    [
        ("annotations/instances_val2017.json", "val2017", "val"),
        ("annotations/instances_val2017.json", "images/val2017", "val"),
        ("annotations/instances_train.json", "images", "train"),
        ("labels.json", "images", "train"),
        ("labels.json", ".", "train"),
        ("valid/_annotations.coco.json", "valid", "val"),
    ],
)
def test_a_coco_file_is_a_data_set(coco, make, picture, annotations, images, split):
    folder = make(f"{images}/", annotations, "train2017/", "images/")
    coco.add_image("a.jpg")
    coco.add_box("a.jpg", BOX)
    (folder / annotations).write_text(json.dumps(coco.content))
    (folder / images / "a.jpg").write_bytes(picture())
    assert split_names(folder / annotations) == [split]
    assert load_dataset(folder / annotations, split).num_boxes == 1


def test_a_coco_file_without_images_stops(make):
    folder = make("train.json")
    with pytest.raises(ConfigError, match=r"no folder of images is beside it; write a data\.yaml"):
        detect_format(folder / "train.json")
