"""What is no data set is named for what it is, with the data YAML that makes it one."""

import json
import os
import random
import re
import shutil

import pytest
import tensorflow as tf
import yaml

from keras_retinanet.data.convert.convert import convert
from keras_retinanet.data.layouts.detect_format import detect_format
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import ConfigError, UserError

BOX = (8, 4, 40, 30)


def refusal(path):
    with pytest.raises(ConfigError) as error:
        split_names(path)
    message = str(error.value)
    assert "\n" not in message and "YAML text file" not in message
    return message


def paste(message):
    """Write the data YAML that a message gives where it says."""
    place, text = re.search(r"write (\S+data\.yaml): (\{.*\})", message).groups()
    settings = yaml.safe_load(text)
    with open(place, "x") as file:
        file.write(text)
    return place, settings


@pytest.fixture
def drawn(coco, tmp_path):
    """A data set of train and val in COCO's format, with one object of each class in each image."""
    for i in range(4):
        coco.add_image(f"{i}.jpg")
        coco.add_box(f"{i}.jpg", BOX)
        coco.add_box(f"{i}.jpg", (1, 2, 30, 20 + i), "dog")
    coco.write()
    return coco


def converted(drawn, target):
    convert(drawn.root / "data.yaml", drawn.root / "as", target=target)
    (drawn.root / "as" / "data.yaml").unlink()
    (drawn.root / "as" / "conversion.json").unlink()
    (drawn.root / "as" / "data_findings.json").unlink()
    return drawn.root / "as"


def move(folder, **places):
    for old, new in places.items():
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / old.replace("__", "/"), folder / new)


def test_coco_in_an_odd_place(drawn):
    folder = converted(drawn, "coco")
    move(folder, images="raw/one/deep/pictures", annotations="export/2024/final")
    message = refusal(folder)
    assert "found 1 COCO file (export/2024/final/train.json), 4 images (raw/one/deep/" in message
    place, settings = paste(message)
    assert settings["format"] == "coco"
    assert load_dataset(place, "train").num_boxes == 8


def test_voc_in_odd_places(drawn):
    folder = converted(drawn, "voc")
    move(folder, Annotations="boxes/of/mine", JPEGImages="shots")
    shutil.rmtree(folder / "ImageSets")
    message = refusal(folder)
    assert "found 4 VOC XML files (boxes/of/mine/0.xml), 4 images (shots/0.jpg)" in message
    place, settings = paste(message)
    assert settings["splits"] == {"train": {"images": "shots", "annotations": "boxes/of/mine"}}
    assert load_dataset(place, "train").num_boxes == 8


def test_yolo_with_its_splits_told_by_folders(drawn):
    folder = converted(drawn, "yolo")
    for i, split in enumerate(("train", "validation")):
        for kind, new, suffix in (("images", "shots", "jpg"), ("labels", "marks", "txt")):
            target = folder / new / f"set_{split}" / "all"
            target.mkdir(parents=True)
            for n in (2 * i, 2 * i + 1):
                shutil.move(folder / kind / "train" / f"{n}.{suffix}", target)
    for name in ("images", "labels"):
        shutil.rmtree(folder / name)
    message = refusal(folder)
    assert "4 label files of YOLO (marks/set_train/all/0.txt), 4 images" in message
    place, settings = paste(message)
    assert settings["names"] == ["class0", "class1"]
    sizes = {name: load_dataset(place, name).num_boxes for name in split_names(place)}
    assert sizes == {"train": 4, "val": 4}


def test_kitti_in_odd_places(kitti):
    for i in range(3):
        kitti.add_image(f"{i}.jpg")
        kitti.add_box(f"{i}.jpg", BOX)
    kitti.write()
    for name in ("data.yaml", "train.txt"):
        (kitti.root / name).unlink()
    move(kitti.root, training__image_2="left", training__label_2="boxes")
    shutil.rmtree(kitti.root / "training")
    place, settings = paste(refusal(kitti.root))
    assert settings["format"] == "kitti"
    assert load_dataset(place, "train").num_boxes == 3


def test_csv_in_an_odd_place(csv):
    csv.header = ["filename", "xmin", "ymin", "xmax", "ymax", "class"]
    for i in range(3):
        csv.add_image(f"{i}.jpg")
        csv.add_box(f"{i}.jpg", BOX)
    csv.rows = [[row[0].rpartition("/")[2], *row[1:]] for row in csv.rows]
    csv.write()
    for name in ("data.yaml", "classes.csv"):
        (csv.root / name).unlink()
    (csv.root / "meta" / "x").mkdir(parents=True)
    shutil.move(csv.root / "train.csv", csv.root / "meta" / "x" / "my_boxes.csv")
    shutil.move(csv.root / "images", csv.root / "photos")
    place, settings = paste(refusal(csv.root))
    assert settings == {
        "format": "csv",
        "splits": {"train": {"images": "photos", "annotations": "meta/x/my_boxes.csv"}},
    }
    assert load_dataset(place, "train").num_boxes == 3


def test_a_tool_s_file_in_an_odd_place(tmp_path, picture):
    content = {
        "imagePath": "a.jpg",
        "imageHeight": 48,
        "imageWidth": 64,
        "shapes": [{"label": "cat", "shape_type": "rectangle", "points": [[8, 4], [40, 30]]}],
    }
    for place in ("pics/x", "marks/y"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "pics" / "x" / "a.jpg").write_bytes(picture())
    (tmp_path / "marks" / "y" / "a.json").write_text(json.dumps(content))
    message = refusal(tmp_path)
    assert "found 1 file of labelme (marks/y/a.json), 1 image (pics/x/a.jpg)" in message
    assert load_dataset(paste(message)[0], "train").boxes.tolist() == [list(BOX)]


def test_records_in_an_odd_place_with_their_label_map(drawn):
    folder = converted(drawn, "tfrecord")
    (record,) = folder.rglob("*.tfrecord*")
    (label_map,) = folder.rglob("*.pbtxt")
    target = folder / "deep" / "er" / "cats.record"
    target.parent.mkdir(parents=True)
    shutil.move(record, target)
    shutil.move(label_map, target.parent / "map.pbtxt")
    message = refusal(folder)
    place, settings = paste(message)
    assert settings["label_map"] == "deep/er/map.pbtxt"
    assert load_dataset(place, "train").num_boxes == 8


def test_several_files_of_one_split_give_the_yaml_of_one(drawn):
    folder = converted(drawn, "coco")
    names = [folder / "annotations" / f"instances_train{year}.json" for year in (2014, 2017)]
    for name in names:
        shutil.copy(folder / "annotations" / "train.json", name)
    (folder / "annotations" / "train.json").unlink()
    message = refusal(folder)
    text = re.search(r"names the one: (\{.*\})", message)[1]
    (folder / "data.yaml").write_text(text)
    assert load_dataset(folder, "train").num_boxes == 8


def test_an_archive_alone_and_a_model(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK\x03\x04")
    assert "unpack photos.zip first" in refusal(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert "is an exported model (SavedModel), no data set" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", b"PK\x03\x04..", "is a zip archive: unpack it and give the folder"),
        ("no_suffix", b"PK\x03\x04\0..", "is a zip archive: unpack it and give the folder"),
        ("a.tar.gz", b"\x1f\x8b\x08", "is a compressed file: unpack it and give the folder"),
        ("a.tar", b"x" * 257 + b"ustar\0", "is a tar archive: unpack it"),
        ("a.keras", b"PK\x03\x04", "is a Keras model: that is a model's place"),
        ("a.pth", b"PK\x03\x04", "is a file of model weights"),
        ("a.h5", b"\x89HDF", "is an HDF5 file, as of Keras weights"),
        ("a.yaml", b"\xff\xd8\xff\xe0\0", "is an image: give the folder that holds the images"),
        ("a.tiff", b"II*\0", "is an image: give the folder"),
        ("a.mp4", b"\0\0\0\x18ftyp", "is a video"),
        ("a.bin", b"\0\1\2\3", "is a binary file of an unknown kind: give a data YAML"),
        ("a.pbtxt", b"item {}", "is a label map"),
        ("a.txt", b"0 .5 .5 .2 .2\n", "is the label file of one image, as YOLO has it"),
        ("a.txt", b"x/a.jpg\nx/b.jpg\n", "is a list of images"),
        ("a.txt", b"hello there\n", "is a text file that lists no images and holds no labels"),
        (
            "a.xml",
            b"<annotation><filename>a.jpg</filename></annotation>",
            "is the annotation of one image, as Pascal VOC has it: give the folder",
        ),
        ("a.xml", b"<rss></rss>", "is an XML file of an unknown kind"),
        (
            "a.json",
            b'[{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}]',
            "is a file of detections (COCO's results), which are no annotations",
        ),
        (
            "a.json",
            b'[{"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}]',
            "is a list of annotations alone: name the COCO file that holds the images",
        ),
        ("a.json", b'{"cats": 3}', "is a JSON object of an unknown kind (with 'cats'): files of"),
        ("a.yaml", b"model: {depth: 3}\n", "is the config of a training, no data YAML"),
        ("a.yaml", b"names: [cat]\n", "has names as YOLO's YAML, but no train: add train: FOLDER"),
        ("a.yaml", b"x: 1\n", "has no `format:`, which a data YAML needs; known: coco"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    told = refusal(path)
    assert told.startswith(str(path)) and message in told


def test_a_record_gives_its_yaml(drawn):
    folder = converted(drawn, "tfrecord")
    (record,) = folder.rglob("*.tfrecord*")
    try:
        settings, _ = detect_format(record)
    except ConfigError as error:
        assert "is a TFRecord file: write" in str(error)
        _, settings = paste(str(error))
    assert settings["format"] == "tfrecord" and settings["label_map"]
    assert tf.io.gfile.exists(str(folder / settings["splits"]["train"]))


def test_two_files_of_a_tool_give_the_yaml_of_one(tmp_path, picture):
    region = {"x": 8, "y": 4, "width": 32, "height": 26, "name": "rect"}
    content = {
        "a": {
            "filename": "a.jpg",
            "regions": [{"shape_attributes": region, "region_attributes": {"class": "cat"}}],
        }
    }
    (tmp_path / "a.jpg").write_bytes(picture())
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_text(json.dumps(content))
    message = refusal(tmp_path)
    assert "train may be any of one.json, two.json: write a data.yaml that names" in message
    (tmp_path / "data.yaml").write_text(re.search(r"names the one: (\{.*\})", message)[1])
    assert load_dataset(tmp_path, "train").boxes.tolist() == [list(BOX)]


def test_yolo_without_names_gives_the_yaml_with_places_for_them(tmp_path, picture):
    for split in ("train", "valid"):
        for kind in ("images", "labels"):
            (tmp_path / split / kind).mkdir(parents=True)
        (tmp_path / split / "images" / "a.jpg").write_bytes(picture())
        (tmp_path / split / "labels" / "a.txt").write_text("2 .5 .5 .2 .2\n0 .5 .5 .4 .4\n")
    message = refusal(tmp_path)
    text = re.search(r"or a data\.yaml: (\{.*\})", message)[1]
    (tmp_path / "data.yaml").write_text(text)
    assert split_names(tmp_path) == ["train", "val"]
    dataset = load_dataset(tmp_path, "val")
    assert dataset.class_names == ("class0", "class1", "class2") and dataset.num_boxes == 2


def test_half_of_a_data_set_names_the_folder_of_both(drawn):
    folder = converted(drawn, "voc")
    for name, lacking in (("Annotations", "image"), ("JPEGImages", "file of annotations")):
        message = refusal(folder / name)
        assert f"no {lacking} is among them: give the folder that holds both" in message
        assert str(folder) in message


def test_all_data_sets_in_a_folder_are_named(drawn):
    folder = converted(drawn, "voc")
    shutil.copytree(folder, folder.parent / "more" / "a")
    shutil.copytree(folder, folder.parent / "more" / "b")
    message = refusal(folder.parent / "more")
    assert "more/a, " in message and message.endswith("more/b look like some: name the one to use")


SUFFIXES = (".json", ".jsonl", ".xml", ".csv", ".txt", ".yaml", ".record", ".pbtxt", ".dat", "")
PARTS = [
    b"{", b"}", b"[", b"]", b"<annotation>", b"<object>", b"\0", b"\xff\xfe", b"\xd8\xd8", b": ",
    b'"images": [', b'"annotations": [', b'"file_name": "a.jpg"', b'"shapes"', b"1,2,3,4", b"\n",
    b"0 0.5 0.5 0.1 0.1\n", b"a.jpg,1,2,30,40,cat\n", b"car 0 0 0 1 2 3 4 5 6 7 8 9 1 2\n", b"PK",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_whatever_lies_in_a_folder_is_read_or_refused_in_one_line(tmp_path, picture, seed):
    rng = random.Random(seed)
    names = ["a", "train", "val\udcff", "[x]", "it's: #1", "labels", "images", "${HOME}"]
    paths = []
    for _ in range(rng.randrange(1, 8)):
        path = tmp_path.joinpath(*rng.choices(names, k=rng.randrange(3)))
        if any(parent.is_file() for parent in (path, *path.parents)):
            continue
        path.mkdir(parents=True, exist_ok=True)
        path /= rng.choice(names) + rng.choice(SUFFIXES)
        if not path.exists():
            path.write_bytes(b"".join(rng.choices(PARTS, k=rng.randrange(9))))
            paths.append(path)
    (tmp_path / "shots" / "x").mkdir(parents=True)
    (tmp_path / "shots" / "x" / "a.jpg").write_bytes(picture())
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.xml")
    for path in (tmp_path, *paths):
        try:
            for split in split_names(path):
                load_dataset(path, split)
        except UserError as error:
            assert "\n" not in str(error) and str(error).isprintable()
