"""Dividing images: all, each once, groups whole, classes in all parts, by the seed alone."""

import numpy as np
import pytest

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.division import divide_images
from keras_retinanet.errors import DataError


def labelled(classes_of_images, num_classes):
    """A data set with an object of each of the classes in each image."""
    counts = [len(classes) for classes in classes_of_images]
    total, num = sum(counts), len(counts)
    return DetectionDataset(
        image_paths=[f"{i}.jpg" for i in range(num)],
        image_ids=list(range(num)),
        heights=np.full(num, 50, np.int32),
        widths=np.full(num, 50, np.int32),
        row_splits=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=np.tile(np.array([[1, 1, 9, 9]], np.float32), (total, 1)),
        labels=np.array([c for classes in classes_of_images for c in classes], np.int32),
        is_ignored=np.zeros(total, bool),
        areas=np.full(total, 64, np.float32),
        class_names=tuple(f"class {c}" for c in range(num_classes)),
        category_ids=tuple(range(1, num_classes + 1)),
    )


def divide(dataset, shares=None, groups=None, seed=0):
    groups = np.arange(len(dataset)) if groups is None else np.asarray(groups)
    return divide_images(dataset, groups, shares or {"val": 0.2}, seed=seed, source="data")


def in_part(dataset, images):
    """Number of images with each class."""
    held = [set(dataset.labels[dataset.rows(i)].tolist()) for i in images]
    return [sum(c in classes for classes in held) for c in range(len(dataset.class_names))]


@pytest.fixture
def mixed():
    """300 images of 8 classes, of very different numbers, some without any object."""
    rng = np.random.default_rng(5)
    shares = [0.6, 0.4, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02]
    return labelled([np.flatnonzero(rng.random(8) < shares).tolist() for _ in range(300)], 8)


def test_every_image_is_in_one_part_and_parts_have_their_shares(mixed):
    parts = divide(mixed, {"val": 0.2, "test": 0.1})
    assert list(parts) == ["train", "val", "test"]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(300))
    assert [abs(len(parts[n]) - 300 * s) <= 6 for n, s in (("val", 0.2), ("test", 0.1))] == [
        True
    ] * 2
    for images in parts.values():
        assert (np.diff(images) > 0).all()


def test_classes_have_the_shares_of_the_images(mixed):
    parts = divide(mixed, {"val": 0.2, "test": 0.1})
    totals = np.array(in_part(mixed, range(300)))
    assert totals.min() >= 3
    for name, share in (("val", 0.2), ("test", 0.1)):
        found = np.array(in_part(mixed, parts[name]))
        assert (np.abs(found - share * totals) <= np.maximum(1, 0.04 * totals)).all(), name
        assert found.min() >= 1


def test_the_seed_decides(mixed):
    first, again, other = (divide(mixed, seed=seed)["val"].tolist() for seed in (3, 3, 4))
    assert first == again != other


def test_groups_stay_whole(mixed):
    groups = np.arange(300) // 7
    parts = divide(mixed, {"val": 0.25}, groups)
    assert not set(groups[parts["train"]]) & set(groups[parts["val"]])
    assert abs(len(parts["val"]) - 75) <= 14


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_two_images_is_in_train_and_in_val(seed):
    dataset = labelled([[0]] * 30 + [[0, 1]] * 2, 2)
    parts = divide(dataset, {"val": 0.1}, seed=seed)
    assert in_part(dataset, parts["val"])[1] == in_part(dataset, parts["train"])[1] == 1
    # Three parts: train and val come first. Of three images, each has one.
    parts = divide(dataset, {"val": 0.1, "test": 0.1}, seed=seed)
    assert [in_part(dataset, parts[n])[1] for n in ("train", "val", "test")] == [1, 1, 0]
    dataset = labelled([[0]] * 30 + [[0, 1]] * 3, 2)
    parts = divide(dataset, {"val": 0.1, "test": 0.1}, seed=seed)
    assert [in_part(dataset, parts[n])[1] for n in ("train", "val", "test")] == [1, 1, 1]


def test_a_class_of_one_image_or_one_group_is_trained():
    dataset = labelled([[0]] * 30 + [[1]] + [[2]] * 3, 3)
    groups = [*range(31), 31, 31, 31]
    parts = divide(dataset, {"val": 0.5}, groups)
    assert in_part(dataset, parts["train"])[1:] == [1, 3]


def test_images_without_objects_are_divided_too():
    dataset = labelled([[]] * 40 + [[0]] * 10, 1)
    val = divide(dataset, {"val": 0.2})["val"]
    assert len(val) == 10 and in_part(dataset, val) == [2]


def test_one_group_cannot_be_divided():
    dataset = labelled([[0]] * 6, 1)
    with pytest.raises(DataError, match="no image is left for val: the 6 images are 1 groups"):
        divide(dataset, groups=[0] * 6)
    assert len(divide(dataset, groups=[0, 0, 0, 0, 0, 1])["val"]) == 1
