"""TensorFlow Datasets: the files as it writes them, with a stand-in for the package; and for real
where it is installed."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import yaml

from keras_retinanet.data.images.address import image_name, read_image_bytes
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import DataError

CLASSES = ["cat", "dog", "cow"]
BOXES = [(0.25, 0.125, 0.75, 0.5), (0.0, 0.0, 1.0, 1.0)]  # ymin, xmin, ymax, xmax


def record(picture, number, labels, **features):
    example = tf.train.Example()
    feature = example.features.feature
    feature["image"].bytes_list.value.append(picture)
    feature["image/filename"].bytes_list.value.append(b"%03d.jpg" % number)
    feature["image/id"].int64_list.value.append(number)
    feature["objects/bbox"].float_list.value.extend(np.ravel(BOXES[: len(labels)]))
    feature["objects/label"].int64_list.value.extend(labels)
    feature["objects/area"].int64_list.value.extend([7] * len(labels))
    feature["objects/is_crowd"].int64_list.value.extend([0, 1][: len(labels)])
    for key, value in features.items():
        key = key.replace("__", "/")
        if key in feature:
            del feature[key]
        if value is not None:
            kind = "bytes_list" if isinstance(value[0], bytes) else "int64_list"
            getattr(feature[key], kind).value.extend(value)
    return example.SerializeToString()


class FakeTfds:
    """`tensorflow_datasets` as far as the reader uses it; "shapes/2017" is prepared."""

    def __init__(self, folder, picture):
        self.folder = folder
        self.file_format = SimpleNamespace(value="tfrecord")
        self.features = {
            "image": None,
            "objects": {"label": SimpleNamespace(names=CLASSES), "bbox": None},
        }
        self.splits = {}
        self.write("train", 0, record(picture, 30, [2, 0]), record(picture, 10, []))
        self.write("train", 1, record(picture, 20, [1]))
        self.write("validation", 0, record(picture, 40, [1]))

    def write(self, split, shard, *records):
        path = self.folder / f"shapes-{split}.tfrecord-{shard:05d}-of-00002"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for data in records:
                writer.write(data)
        part = SimpleNamespace(filename=str(path), skip=0, take=len(records))
        parts = self.splits.setdefault(split, SimpleNamespace(file_instructions=[]))
        parts.file_instructions[shard:] = [part]
        return path

    def builder(self, name, data_dir=None):
        if name != "shapes/2017":
            raise ValueError(f"Dataset {name} not found.\nAvailable datasets:\n\t- coco")
        info = SimpleNamespace(
            splits=self.splits, features=self.features, file_format=self.file_format
        )
        return SimpleNamespace(info=info, data_dir=data_dir)


@pytest.fixture
def tfds(tmp_path, picture, monkeypatch):
    fake = FakeTfds(tmp_path, picture())
    module = ModuleType("tensorflow_datasets")
    module.builder = fake.builder
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    return fake


def test_images_and_objects(tfds, picture):
    dataset = load_dataset("tfds:shapes/2017", "train")
    assert dataset.image_ids == [30, 10, 20]
    assert [image_name(p) for p in dataset.image_paths] == ["030.jpg", "010.jpg", "020.jpg"]
    assert {read_image_bytes(p) for p in dataset.image_paths} == {picture()}
    assert dataset.class_names == tuple(CLASSES)
    assert dataset.row_splits.tolist() == [0, 2, 2, 3]
    assert dataset.labels.tolist() == [2, 0, 1]
    assert dataset.is_ignored.tolist() == [False, True, False]
    assert dataset.areas.tolist() == [7, 7, 7]
    np.testing.assert_array_equal(dataset.boxes, [(8, 12, 32, 36), (0, 0, 64, 48), (8, 12, 32, 36)])
    assert not dataset.findings


@pytest.mark.parametrize(
    "options", [(), ("--anchors", "quickstart"), ("--augment", "quickstart")], ids=str
)
def test_data_show(tfds, call, tmp_path, options):
    arguments = ("--data", "tfds:shapes/2017", "--split", "train", "--output", tmp_path / "out")
    assert call("data", "show", *arguments, "--count", 2, *options) == 0
    assert (tmp_path / "out" / "sample.html").read_text().count("<figure") == 2


def test_splits(tfds, tmp_path):
    assert split_names("tfds:shapes/2017") == ["train", "val"]
    assert load_dataset("tfds:shapes/2017", "val").image_ids == [40]
    values = {"format": "tfds", "name": "shapes/2017", "splits": {"holdout": "train"}}
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump(values))
    assert split_names(path) == ["holdout"]
    assert len(load_dataset(path, "holdout")) == 3


def test_a_part_of_a_split(tfds):
    (first, second) = tfds.splits["train"].file_instructions
    first.skip, first.take, second.take = 1, 1, 1
    assert load_dataset("tfds:shapes/2017", "train").image_ids == [10, 20]


def test_without_ids_file_names_are_the_ids(tfds, picture):
    tfds.write("validation", 0, record(picture(), 40, [1], image__id=None))
    assert load_dataset("tfds:shapes/2017", "val").image_ids == ["040.jpg"]


@pytest.mark.parametrize("key", ["is_difficult", "is_group_of"])
def test_other_names_of_regions_to_ignore(tfds, picture, key):
    features = {"objects__is_crowd": None, f"objects__{key}": [1]}
    tfds.write("validation", 0, record(picture(), 40, [1], **features))
    assert load_dataset("tfds:shapes/2017", "val").is_ignored.tolist() == [True]


def test_other_names_of_objects(tfds, picture):
    tfds.features = {"image": None, "bobjects": {"type": SimpleNamespace(names=["a", "b"])}}
    dataset = load_dataset("tfds:shapes/2017", "val")
    assert dataset.class_names == ("a", "b")
    assert dataset.num_boxes == 0  # the records have objects of another name


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r'pip install "retinanet-keras\[tfds\]"'):
        load_dataset("tfds:coco/2017", "train")


def set_format(tfds):
    tfds.file_format = SimpleNamespace(value="array_record")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.splits.clear(), "not prepared in .*: run `tfds build shapes/2017`"),
        (lambda t: t.features.pop("objects"), r"no images with objects .* \['image'\]"),
        (lambda t: t.features["objects"].pop("label"), "no images with objects"),
        (set_format, "stored as array_record"),
        (lambda t: t.splits.pop("train"), "no split 'train'"),
    ],
)
def test_what_cannot_be_used(tfds, change, message):
    change(tfds)
    with pytest.raises(DataError, match=message) as error:
        load_dataset("tfds:shapes/2017", "train")
    assert "\n" not in str(error.value)


def test_an_unknown_name_is_one_line(tfds):
    with pytest.raises(DataError, match=r"^tfds:coco: Dataset coco not found\.$"):
        load_dataset("tfds:coco", "train")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"objects__label": [3]}, "the labels go from 3 to 3, and there are 3 classes"),
        ({"objects__label": [0, 1]}, "record 0: the lists of its objects have different lengths"),
        ({"objects__area": [0, 1]}, "record 0: the lists of its objects have different lengths"),
        ({"objects__is_crowd": [0, 1]}, "record 0: the lists of its objects have different"),
        ({"image": None}, "record 0 has no image"),
        ({"image": [3]}, "record 0: image is a int64_list, not a bytes_list"),
    ],
)
def test_bad_records(tfds, picture, features, message):
    tfds.write("validation", 0, record(picture(), 40, [1], **features))
    with pytest.raises(DataError, match=message):
        load_dataset("tfds:shapes/2017", "val")


def test_a_shard_that_ends_early(tfds):
    tfds.splits["validation"].file_instructions[0].take = 2
    with pytest.raises(DataError, match="record 1 is missing"):
        load_dataset("tfds:shapes/2017", "val")


def test_against_the_package_itself(tmp_path, picture):
    """What it writes is read as it reads it itself."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("importlib_resources")  # it looks for the code of a builder with it

    class Shapes(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            objects = {
                "bbox": tfds.features.BBoxFeature(),
                "is_crowd": np.bool_,
                "label": tfds.features.ClassLabel(names=CLASSES),
            }
            features = tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "image/filename": tfds.features.Text(),
                    "objects": tfds.features.Sequence(objects),
                }
            )
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(5), "validation": self._generate_examples(2)}

        def _generate_examples(self, count):
            for i in range(count):
                path = tmp_path / f"{i}.jpg"
                path.write_bytes(picture(64 + i, 48))
                objects = [
                    {"bbox": tfds.features.BBox(*BOXES[k]), "is_crowd": k == 1, "label": i % 3}
                    for k in range(i % 3)
                ]
                yield i, {"image": path, "image/filename": path.name, "objects": objects}

    builder = Shapes(data_dir=tmp_path / "data")
    builder.download_and_prepare()
    (tmp_path / "data.yaml").write_text("{format: tfds, name: shapes, data_dir: data}")
    assert split_names(tmp_path / "data.yaml") == ["train", "val"]
    dataset = load_dataset(tmp_path / "data.yaml", "train")
    decoders = {"image": tfds.decode.SkipDecoding()}
    expected = tfds.as_numpy(builder.as_dataset(split="train", decoders=decoders))
    expected = {e["image/filename"].decode(): e for e in expected}
    assert sorted(dataset.image_ids) == sorted(expected)
    for i, name in enumerate(dataset.image_ids):
        objects, rows = expected[name]["objects"], dataset.rows(i)
        assert read_image_bytes(dataset.image_paths[i]) == expected[name]["image"]
        boxes = objects["bbox"][:, [1, 0, 3, 2]] * np.tile([dataset.widths[i], 48], 2)
        np.testing.assert_allclose(dataset.boxes[rows], boxes, rtol=1e-6)
        np.testing.assert_array_equal(dataset.labels[rows], objects["label"])
        np.testing.assert_array_equal(dataset.is_ignored[rows], objects["is_crowd"])
