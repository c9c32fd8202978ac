"""Data sets in buckets: read as from a folder, in any format, and no more than is needed."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.convert.convert import convert
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.images.address import image_reader, read_image_bytes
from keras_retinanet.data.images.given_images import given_images
from keras_retinanet.data.source import load_dataset, split_names
from keras_retinanet.errors import BucketError, ConfigError, DataError
from keras_retinanet.system.buckets import incoming, remote_files
from keras_retinanet.system.buckets.bucket_address import told
from keras_retinanet.system.buckets.incoming import is_elsewhere

ARRAYS = ("heights", "widths", "row_splits", "boxes", "labels", "is_ignored", "areas")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """The folder of one data set in several formats."""
    folder = tmp_path_factory.mktemp("sets")
    data = write_demo_dataset(folder / "coco", num_train=4, num_val=2)
    for target in ("voc", "yolo", "tfrecord"):
        convert(data, folder / target, target=target)
    return folder


def assert_same(found, expected):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert found.class_names == expected.class_names and found.image_ids == expected.image_ids
    for path, other in zip(found.image_paths, expected.image_paths, strict=True):
        assert read_image_bytes(path) == read_image_bytes(other)


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("name", ["", "/data.yaml"])
@pytest.mark.parametrize("target", ["coco", "voc", "yolo", "tfrecord"])
def test_every_format_is_read_as_from_a_folder(sets, new_bucket, target, name, kind):
    bucket = new_bucket(kind)
    bucket.fill(sets / target, "shop/set/")
    bucket.put("shop/else/big.jpg", b"not asked for")
    data = (bucket / "shop/set") + name
    assert split_names(data) == split_names(sets / target)
    for split in ("train", "val"):
        found = load_dataset(data, split)
        assert_same(found, load_dataset(str(sets / target) + name, split))
        assert all(told(path).startswith(f"{bucket / 'shop/set'}/") for path in found.image_paths)


def test_a_single_annotation_file_finds_its_images(sets, new_bucket):
    bucket = new_bucket()
    bucket.fill(sets / "coco", "set/")
    file = "annotations/train.json"
    found = load_dataset(f"{bucket / 'set'}/{file}", "train")
    assert_same(found, load_dataset(sets / "coco" / file, "train"))


def test_csv_with_images_beside_it(new_bucket, sets, tmp_path):
    bucket, folder = new_bucket(), tmp_path / "rows"
    folder.mkdir()
    dataset = load_dataset(sets / "coco", "train")
    rows = []
    for i, path in enumerate(dataset.image_paths):
        (folder / f"{i}.jpg").write_bytes(read_image_bytes(path))
        rows.append(f"{i}.jpg,10,20,60,70,thing")
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    bucket.fill(folder, "rows/")
    (folder / "data.yaml").write_text("{format: csv, splits: {train: train.csv}}")
    local = load_dataset(folder / "data.yaml", "train")
    # A data YAML on this machine may name what lies in a bucket.
    (folder / "remote.yaml").write_text(
        f"{{format: csv, splits: {{train: '{bucket / 'rows/train.csv'}'}}}}"
    )
    assert_same(load_dataset(folder / "remote.yaml", "train"), local)


def test_a_local_yaml_names_images_and_labels_in_a_bucket(sets, new_bucket, tmp_path):
    bucket = new_bucket()
    bucket.fill(sets / "coco", "set/")
    images, annotations = bucket / "set/images/train", bucket / "set/annotations/train.json"
    data = tmp_path / "data.yaml"
    data.write_text(
        f"{{format: coco, splits: {{train: {{images: '{images}', annotations: '{annotations}'}}}}}}"
    )
    assert_same(load_dataset(data, "train"), load_dataset(sets / "coco", "train"))


def test_of_a_data_yaml_only_what_it_names_is_listed(sets, new_bucket, monkeypatch):
    bucket = new_bucket()
    bucket.fill(sets / "coco", "set/")
    asked, real = [], remote_files.find
    monkeypatch.setattr(remote_files, "find", lambda a: asked.append(a) or real(a))
    load_dataset(bucket / "set/data.yaml", "train")
    inside = [address.removeprefix(f"{bucket / 'set'}/") for address in asked]
    assert inside[0] == "data.yaml" and bucket / "set" not in asked
    assert len(asked) == len(set(asked)) <= 4, inside


def test_images_of_another_split_are_not_fetched(sets, new_bucket):
    bucket = new_bucket()
    bucket.fill(sets / "coco", "set/")
    load_dataset(bucket / "set", "val")
    (image,) = load_dataset(sets / "coco", "train").image_paths[:1]
    name = image.removeprefix(str(sets / "coco"))
    assert is_elsewhere(str(incoming.staged(bucket / "set")) + name)


def test_batches_are_read_from_the_bucket_where_nothing_is_kept(sets, new_bucket, monkeypatch):
    """Of files and of records, in graphs and outside: the same bytes as from a folder."""
    bucket = new_bucket()
    bucket.fill(sets / "coco", "coco/")
    incoming.staged(bucket / "coco")
    monkeypatch.setenv(incoming.ROOM_VARIABLE, "0")
    found = load_dataset(bucket / "coco", "train")
    assert all(map(is_elsewhere, found.image_paths))
    expected = load_dataset(sets / "coco", "train")
    read = image_reader(found.image_paths)
    streamed = tf.data.Dataset.from_tensor_slices(found.image_paths).map(read)
    assert list(streamed.as_numpy_iterator()) == list(map(read_image_bytes, expected.image_paths))


def test_once_all_is_here_tensorflow_reads_the_files(sets, new_bucket):
    bucket = new_bucket()
    bucket.fill(sets / "coco", "coco/")
    assert image_reader(load_dataset(bucket / "coco", "train").image_paths) is tf.io.read_file


def test_a_network_that_fails_is_no_damaged_image(sets, new_bucket, monkeypatch):
    bucket = new_bucket()
    bucket.fill(sets / "coco", "coco/")

    real = remote_files.download

    def fail(address, target):
        if address.endswith(".jpg"):
            raise BucketError("no network")
        real(address, target)

    monkeypatch.setattr(remote_files, "download", fail)
    with pytest.raises(BucketError, match="no network"):
        load_dataset(bucket / "coco", "train")


@pytest.mark.parametrize("name", ["none", "none.yaml", "x/y.json"])
def test_what_is_not_there_is_one_line(new_bucket, name):
    bucket = new_bucket()
    with pytest.raises((ConfigError, DataError)) as error:
        load_dataset(bucket / name, "train")
    assert bucket / name in told(str(error.value))


def test_images_to_predict_on(sets, new_bucket):
    bucket = new_bucket()
    bucket.fill(sets / "coco" / "images", "photos/")
    bucket.put("photos/train/notes.pdf", b"x")
    every = given_images([bucket / "photos"])
    one = given_images([bucket / "photos/val"])
    by_pattern = given_images([bucket / "photos/v*/*.jpg"])
    listed = given_images(["-"], [f"{bucket / 'photos/val'}\n", f"{bucket / 'photos/none.jpg'}\n"])
    assert len(every.files) == 6 and len(one.files) == 2
    assert one.files == by_pattern.files == listed.files
    assert [f.where for f in every.findings] == [bucket / "photos/train/notes.pdf"]
    assert [f.where for f in listed.findings] == [bucket / "photos/none.jpg"]
    with pytest.raises(DataError, match="there is no file or folder memory://bucket/none"):
        given_images([bucket / "none"])


def test_links_to_a_bucket_are_refused(sets, new_bucket, tmp_path):
    bucket = new_bucket()
    bucket.fill(sets / "coco", "set/")
    for data, output in ((bucket / "set", tmp_path / "x"), (sets / "coco", bucket / "x")):
        with pytest.raises(ConfigError, match="--link is for local folders"):
            convert(data, output, target="coco", link=True)


@pytest.mark.parametrize("target", ["voc", "tfrecord"])
def test_a_conversion_into_a_bucket_is_that_into_a_folder(sets, new_bucket, target):
    bucket = new_bucket()
    bucket.fill(sets / "coco", "set/")
    done = convert(bucket / "set", bucket / "out", target=target)
    assert told(str(done.data_yaml)) == bucket / "out/data.yaml"
    expected = {p.relative_to(sets / target).as_posix() for p in (sets / target).rglob("*.*")}
    assert {name.removeprefix("out/") for name in bucket.names("out")} >= {
        name for name in expected if (sets / target / name).is_file()
    }
    assert_same(load_dataset(bucket / "out", "val"), load_dataset(sets / target, "val"))
