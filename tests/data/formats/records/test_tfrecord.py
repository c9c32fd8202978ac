from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import yaml

from keras_retinanet.data.checks.check import check_dataset, severity
from keras_retinanet.data.images.address import image_name, read_image_bytes
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import DataError

BOX = "image/object/bbox/"


def example(**features):
    """A serialized tf.train.Example; "__" in a key stands for a slash."""
    result = tf.train.Example()
    for key, values in features.items():
        feature = result.features.feature[key.replace("__", "/")]
        for value in np.atleast_1d(np.array(values, object)):
            if isinstance(value, str | bytes):
                text = value.encode() if isinstance(value, str) else value
                feature.bytes_list.value.append(text)
            elif isinstance(value, float):
                feature.float_list.value.append(value)
            else:
                feature.int64_list.value.append(int(value))
    return result.SerializeToString()


class TfrecordFolder:
    """TFRecords as a user has them, of images 64 wide and 48 high."""

    def __init__(self, root, picture):
        self.root = root
        self.picture = picture()
        self.settings = {"format": "tfrecord", "splits": {"train": "train"}}

    def record(self, number=1, boxes=((0.25, 0.5, 0.5, 0.75),), **features):
        corners = np.array(boxes, float).reshape(-1, 4).T.tolist()
        keys = ("xmin", "ymin", "xmax", "ymax")
        fields = {
            "image__encoded": self.picture,
            "image__filename": f"{number}.jpg",
            "image__source_id": str(number),
            "image__height": 48,
            "image__width": 64,
            **{f"image__object__bbox__{k}": c for k, c in zip(keys, corners, strict=True) if c},
        }
        if boxes and not {"image__object__class__text", "image__object__class__label"} & {
            *features
        }:
            fields["image__object__class__text"] = ["cat"] * len(corners[0])
        return example(**{k: v for k, v in {**fields, **features}.items() if v is not None})

    def write(self, *records, name="train.tfrecord"):
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
        return path

    def load(self, split="train"):
        (self.root / "data.yaml").write_text(yaml.safe_dump(self.settings))
        dataset = load_dataset(self.root / "data.yaml", split)
        self.findings = Counter((f.problem, f.action) for f in dataset.findings)
        return dataset


def test_the_check_tells_all_faults_of_records(folder):
    folder.settings["label_map"] = "map.pbtxt"
    (folder.root / "map.pbtxt").write_text("item { id: 1 name: 'cat' }")
    two = [(0.25, 0.5, 0.5, 0.75), (0.0, 0.0, 1.0, 1.0)]
    path = folder.write(
        folder.record(0),
        folder.record(1, two, image__object__class__text=["cat", "cow"]),
        folder.record(2, two, image__object__class__text=["cat"]),
        b"no example",
        folder.record(4, two, image__object__class__label=[7, 1]),
        folder.record(5),
    )
    (folder.root / "data.yaml").write_text(yaml.safe_dump(folder.settings))
    report = check_dataset(folder.root / "data.yaml")
    errors = {
        (f.problem, f.where[: 60 + len(str(path))])
        for f in report.findings
        if severity(f) == "error"
    }
    assert {(p, w[len(str(path)) :].partition(":")[2][:19]) for p, w in errors} == {
        ("object of an unknown class", " record 1, object 1"),
        ("record that cannot be used", " record 2: the list"),
        ("record that cannot be used", " record 3 is not a "),
        ("object of an unknown class", " record 4, object 0"),
    }
    assert report.statistics["train"]["objects"] == 4
    assert report.statistics["train"]["images"] == 4
    with pytest.raises(DataError, match="record 2: the lists of its objects have different"):
        folder.load()


@pytest.fixture
def folder(tmp_path, picture):
    return TfrecordFolder(tmp_path, picture)


def test_images_and_objects(folder, picture):
    other = picture(64, 48, kind="PNG")
    two = [(0.25, 0.5, 0.5, 0.75), (0.0, 0.0, 1.0, 1.0)]
    path = folder.write(
        folder.record(7, two, image__object__class__text=["dog", "cat"]),
        folder.record(3, (), image__encoded=other, image__filename=None),
        folder.record(5, image__object__class__text="dog"),
    )
    dataset = folder.load()
    np.testing.assert_array_equal(
        dataset.boxes, [(16, 24, 32, 36), (0, 0, 64, 48), (16, 24, 32, 36)]
    )
    assert dataset.row_splits.tolist() == [0, 2, 2, 3]
    assert dataset.labels.tolist() == [1, 0, 1]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.image_ids == [7, 3, 5]
    assert [image_name(p) for p in dataset.image_paths] == ["7.jpg", "3.png", "5.jpg"]
    assert all(p.startswith(f"{path}@") for p in dataset.image_paths)
    assert [read_image_bytes(p) for p in dataset.image_paths] == [
        folder.picture,
        other,
        folder.picture,
    ]
    assert not folder.findings


def test_crowds_difficult_objects_and_areas(folder):
    folder.write(
        folder.record(
            1,
            [(0.25, 0.5, 0.5, 0.75)] * 3,
            image__object__is_crowd=[0, 1, 0],
            image__object__difficult=[0, 0, 1],
            image__object__area=[10.5, 20.0, 30.0],
        )
    )
    dataset = folder.load()
    assert dataset.is_ignored.tolist() == [False, True, True]
    assert dataset.areas.tolist() == [10.5, 20, 30]


@pytest.mark.parametrize(
    "source_ids", [["a", "b"], ["01", "2"], ["1_0", "2"]], ids=["text", "leading 0", "underscore"]
)
def test_image_ids_that_are_no_numbers_stay_texts(folder, source_ids):
    folder.write(*(folder.record(1, image__source_id=s) for s in source_ids))
    assert folder.load().image_ids == source_ids


def test_file_names_are_the_ids_where_source_ids_are_not_unique(folder):
    folder.write(*(folder.record(n, image__source_id="0") for n in (1, 2)))
    assert folder.load().image_ids == ["1", "2"]
    ((problem, action),) = folder.findings
    assert "source_id" in problem
    assert action == "noted"
    folder.write(*(folder.record(n, image__source_id="") for n in (1, 2)))
    assert folder.load().image_ids == ["1", "2"]
    assert not folder.findings
    folder.write(*(folder.record(1, image__source_id=None) for _ in "12"))
    assert [i[-8:] for i in folder.load().image_ids] == ["record 0", "record 1"]


LABEL_MAP = "item { id: 3 name: 'dog' } item { id: 1 name: 'cat' }"


@pytest.mark.parametrize(
    "classes",
    [{"label_map": "map.pbtxt"}, {"label_map": "map.yaml"}, {"classes": {1: "cat", 3: "dog"}}],
)
@pytest.mark.parametrize("given", ["class__label", "class__text", "both"])
def test_classes_of_a_label_map(folder, classes, given):
    (folder.root / "map.pbtxt").write_text(LABEL_MAP)
    (folder.root / "map.yaml").write_text("1: cat\n3: dog")
    folder.settings.update(classes)
    both = {"image__object__class__label": 3, "image__object__class__text": "dog"}
    folder.write(folder.record(1, **{k: v for k, v in both.items() if given in (k[15:], "both")}))
    dataset = folder.load()
    assert dataset.class_names == ("cat", "dog")
    assert dataset.category_ids == (1, 3)
    assert dataset.labels.tolist() == [1]


def test_the_text_counts_where_label_and_text_differ(folder):
    folder.settings["classes"] = ["cat", "dog"]
    folder.write(folder.record(1, image__object__class__label=2, image__object__class__text="cat"))
    assert folder.load().labels.tolist() == [0]
    assert folder.findings == {("class label and class text differ", "noted"): 1}


def test_without_a_label_map_classes_are_those_of_all_splits(folder):
    def labelled(label, text):
        return folder.record(1, image__object__class__label=label, image__object__class__text=text)

    folder.settings["splits"]["val"] = "val"
    folder.write(labelled(9, "ant"))
    folder.write(labelled(4, "bee"), name="val.tfrecord")
    for split, label in (("train", 1), ("val", 0)):
        dataset = folder.load(split)
        assert (dataset.class_names, dataset.category_ids) == (("bee", "ant"), (4, 9))
        assert dataset.labels.tolist() == [label]
    folder.write(labelled(9, "bee"), name="val.tfrecord")  # now the numbers tell nothing
    dataset = folder.load()
    assert (dataset.class_names, dataset.category_ids) == (("ant", "bee"), (1, 2))


@pytest.mark.parametrize(
    ("settings", "features", "message"),
    [
        ({}, {"image__object__class__label": 3}, "classes \\[3\\] have no name in the records"),
        (
            {"classes": ["cat"]},
            {"image__object__class__label": 3},
            r"object 0 has the unknown class label 3; known: \{1: 'cat'\}",
        ),
        (
            {"classes": ["cat"]},
            {"image__object__class__text": "cow"},
            r"object 0 has the unknown class 'cow'; known: \['cat'\]",
        ),
        ({}, {"image__object__class__text": []}, "neither image/object/class/label nor"),
        ({}, {"image__object__class__text": ["cat", "cat"]}, "different lengths"),
        ({}, {"image__object__area": [1.0, 2.0]}, "different lengths"),
        ({}, {"image__object__bbox__xmax": [0.1, 0.2]}, "different lengths"),
        ({}, {"image__object__bbox__xmax": None}, "different lengths"),
        ({}, {"image__object__bbox__xmax": "0.1"}, "xmax is a bytes_list, not a float_list or"),
        ({}, {"image__object__class__text": 1}, "class/text is a int64_list, not a bytes_list"),
        ({}, {"image__object__bbox__xmax": 32.0}, r"above 1\.5 .* where shares"),
        ({}, {"image__object__bbox__xmax": float("nan")}, "holds NaN or infinity"),
        ({}, {"image__encoded": None}, "holds no image .*`images:`"),
        ({}, {"image__encoded": b""}, "holds no image .*`images:`"),
    ],
)
def test_what_is_wrong_in_a_record_is_told_with_its_number(folder, settings, features, message):
    folder.settings.update(settings)
    features = {"image__object__class__text": "cat", **features}
    if "image__object__class__label" in features:
        del features["image__object__class__text"]
    path = folder.write(folder.record(1, ()), folder.record(2, **features))
    with pytest.raises(DataError, match=message) as error:
        folder.load()
    place = "" if "in the records" in message else ": record 1"
    assert str(error.value).startswith(f"{path}{place}")


def test_bytes_that_are_no_example(folder):
    path = folder.write(folder.record(), b"\xff\xff\xff")
    with pytest.raises(DataError, match=r"record 1 is not a tf\.train\.Example") as error:
        folder.load()
    assert str(error.value).startswith(str(path))


def test_images_in_a_folder(folder):
    (folder.root / "photos").mkdir()
    for name in ("1.jpg", "2.jpg"):
        (folder.root / "photos" / name).write_bytes(folder.picture)
    folder.settings["images"] = "photos"
    folder.write(*(folder.record(n, image__encoded=b"") for n in (1, 2)))
    paths = folder.load().image_paths
    assert paths == [str(folder.root / "photos" / name) for name in ("1.jpg", "2.jpg")]


def test_a_bad_image_is_reported_by_its_name(folder):
    folder.write(folder.record(1), folder.record(2, image__encoded=folder.picture[:-600]))
    dataset = folder.load()
    assert dataset.image_ids == [1]
    skipped = [f.where for f in dataset.findings if f.action == "image skipped"]
    assert [image_name(w) for w in skipped] == ["2.jpg"]


@pytest.mark.parametrize("place", ["header", "data", "checksum", "end"])
def test_damage_is_told_with_the_number_of_the_record(folder, place):
    first = folder.record(1)
    path = folder.write(first, folder.record(2), folder.record(3))
    content = bytearray(path.read_bytes())
    start = len(first) + 16  # of the second record
    position = {"header": start + 2, "data": start + 40, "checksum": start + len(first) + 13}
    if place == "end":
        del content[start + len(first) // 2 :]
    else:
        content[position[place]] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(DataError, match="record 1 is damaged or cut off") as error:
        folder.load()
    assert str(error.value).startswith(str(path))


def test_compressed_records_are_refused(folder):
    with tf.io.TFRecordWriter(str(folder.root / "train.tfrecord"), "GZIP") as writer:
        writer.write(folder.record())
    with pytest.raises(DataError, match="is compressed"):
        folder.load()


@pytest.mark.parametrize(
    "name",
    ["train-{:05d}-of-00003.tfrecord", "train.record-{:05d}-of-00003", "train-{:05d}-of-00003"],
)
def test_shards_are_read_in_order(folder, name):
    for i in (2, 0, 1):
        folder.write(folder.record(i), name=name.format(i))
    for split in ("train", "train*", "train*-of-00003*"):
        folder.settings["splits"] = {"train": split}
        assert folder.load().image_ids == [0, 1, 2]
    folder.settings["splits"] = {"train": [name.format(2), name.format(0)]}
    assert folder.load().image_ids == [2, 0]


def test_a_missing_shard_is_named(folder):
    for i in (0, 2):
        folder.write(folder.record(i), name=f"train-{i:05d}-of-00004.tfrecord")
    for split in ("train", "train-*"):
        folder.settings["splits"] = {"train": split}
        with pytest.raises(DataError, match="train: 2 of 4 shards are missing: 00001, 00003"):
            folder.load()


def test_two_sets_of_shards_are_not_mixed(folder):
    folder.write(folder.record(0), name="train-00000-of-00001.tfrecord")
    folder.write(folder.record(1), name="train-00000-of-00002.tfrecord")
    folder.write(folder.record(2), name="train-00001-of-00002.tfrecord")
    with pytest.raises(DataError, match=r"shards of 2 sets \(of 1, 2\)"):
        folder.load()
    folder.settings["splits"] = {"train": "train-*-of-00002*"}
    assert folder.load().image_ids == [1, 2]


def test_other_splits_are_no_part_of_a_split(folder):
    folder.write(folder.record(1), name="train-00000-of-00001.tfrecord")
    folder.write(folder.record(2), name="train2-00000-of-00001.tfrecord")
    assert folder.load().image_ids == [1]


@pytest.mark.parametrize("split", ["trian", "nowhere/train", "train-*", [], "."])
def test_a_split_without_files(folder, split):
    folder.settings["splits"] = {"train": split}
    with pytest.raises(DataError, match=r"there are no TFRecord files|names no TFRecord file"):
        folder.load()


def test_boxes_are_shares_of_the_upright_image(folder, picture, exif):
    folder.picture = picture(64, 48, exif=exif(6))
    folder.write(folder.record(1, image__height=64, image__width=48))
    np.testing.assert_array_equal(folder.load().boxes, [(12, 32, 24, 48)])
    assert not folder.findings
