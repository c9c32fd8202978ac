"""Images inside larger files are read as files of their own are: in Python and in graphs."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.images.address import (
    file_of,
    image_address,
    image_name,
    image_reader,
    is_address,
    num_image_bytes,
    open_image,
    read_image_bytes,
)
from keras_retinanet.data.images.inspection import inspect_image
from keras_retinanet.data.pipeline.batches import network_inputs, training_batches
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.errors import DataError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy


@pytest.fixture
def packed(tmp_path, picture):
    """Two pictures as files, and the same within one file: paths, addresses."""
    folder = tmp_path / "Fotos 雪 100%"
    folder.mkdir()
    contents = [picture(64, 48), picture(48, 64, kind="PNG")]
    paths, addresses, blob = [], [], b"head"
    for name, content in zip(("a.jpg", "b.png"), contents, strict=True):
        (folder / name).write_bytes(content)
        paths.append(str(folder / name))
        addresses.append(image_address(folder / "x.tfrecord", len(blob), len(content), name))
        blob += content + b"tail"
    (folder / "x.tfrecord").write_bytes(blob)
    return paths, addresses


def test_an_address_reads_like_a_file_in_a_folder():
    address = image_address("train.tfrecord", 12, 345, "photos/cat one.jpg")
    assert address == "train.tfrecord@12+345/cat one.jpg"
    assert image_name(address) == "cat one.jpg"
    assert is_address(address)
    assert image_name(image_address("x", 1, 2, "C:\\photos\\a.jpg")) == "a.jpg"


@pytest.mark.parametrize(
    "path", ["a.jpg", "me@home/a.jpg", "cam@12:30/a.jpg", "x@1+2", "x@1+2/a/b.jpg", "x@1+/a.jpg"]
)
def test_files_are_not_taken_for_addresses(path):
    assert not is_address(path)


def test_bytes(packed):
    for path, address in zip(*packed, strict=True):
        expected = Path(path).read_bytes()
        assert read_image_bytes(path) == read_image_bytes(address) == expected
        with open_image(address) as file:
            assert file.read(4) == expected[:4]


def test_headers(packed):
    for path, address in zip(*packed, strict=True):
        for decode in (True, False):
            assert inspect_image(address, decode=decode) == inspect_image(path, decode=decode)
    assert inspect_image(packed[1][0]).width == 64


@pytest.mark.parametrize("mixed", [False, True])
def test_in_a_graph(packed, mixed):
    paths, addresses = packed
    given = [paths[0], addresses[1]] if mixed else addresses
    read = image_reader(given)
    found = list(tf.data.Dataset.from_tensor_slices(given).map(read).as_numpy_iterator())
    assert found == [Path(path).read_bytes() for path in paths]
    assert read(tf.constant(given[1])).numpy() == found[1]


def test_plain_files_are_left_to_tensorflow(packed):
    assert image_reader(packed[0]) is tf.io.read_file


def test_a_range_beyond_the_end_is_told(packed):
    address = packed[1][1].replace("+", "+1")
    with pytest.raises(DataError, match=r"b\.png: the file ends before the image"):
        read_image_bytes(address)
    assert inspect_image(address).fault == "truncated or damaged image file"
    assert inspect_image(image_address("nothing", 0, 9, "a.jpg")).fault == "missing image file"


def test_the_pipelines_see_the_same_pixels(packed):
    paths, addresses = packed
    policy = InputPolicy("square", 32)
    heights, widths = np.array([48, 64], np.int32), np.array([64, 48], np.int32)
    expected, found = (
        [e["image"] for e in network_inputs(p, heights, widths, policy).as_numpy_iterator()]
        for p in (paths, addresses)
    )
    np.testing.assert_array_equal(found, expected)

    dataset = DetectionDataset(
        image_paths=addresses,
        image_ids=[1, 2],
        heights=heights,
        widths=widths,
        row_splits=np.array([0, 1, 1]),
        boxes=np.array([[8, 4, 40, 30]], np.float32),
        labels=np.zeros(1, np.int32),
        is_ignored=np.zeros(1, bool),
        areas=np.ones(1, np.float32),
        class_names=("cat",),
        category_ids=(1,),
    )
    plan = TrainingPlan(heights, widths, policy, 2)
    batches = training_batches(
        dataset, plan, anchor_generator=AnchorGenerator(), horizontal_flip=False
    )
    images = next(iter(batches))[0].numpy()
    np.testing.assert_array_equal(images, [expected[i] for i in plan.epoch(0)["index"]])


def test_a_folder_may_be_called_as_an_address(tmp_path):
    folder = tmp_path / "x@1+2"
    folder.mkdir()
    (folder / "4.jpg").write_bytes(b"abc")
    path = str(folder / "4.jpg")
    assert not is_address(path)
    assert (file_of(path), read_image_bytes(path), num_image_bytes(path)) == (path, b"abc", 3)
