"""Checks of boxes in blocks: what slow loops find, however the boxes lie."""

import numpy as np
import pytest

from keras_retinanet.data.checks import label_checks
from keras_retinanet.data.raw_annotations import RawAnnotations


def raw_annotations(box_images, boxes, labels):
    num_images = int(box_images.max()) + 2  # the last one has none
    return RawAnnotations(
        source="here",
        image_paths=[f"{i}.jpg" for i in range(num_images)],
        image_ids=list(range(num_images)),
        declared_sizes=[None] * num_images,
        box_images=box_images,
        boxes=boxes,
        labels=labels,
        is_ignored=np.zeros(len(boxes), bool),
        areas=np.full(len(boxes), np.nan),
        class_names=("a", "b"),
        category_ids=(1, 2),
        describe_box=str,
    )


@pytest.fixture(params=[False, True], ids=["as they come", "image by image"])
def raw(request, rng):
    """Boxes of few values, so that many are the same; those of two images are shares."""
    images = rng.integers(0, 9, 80)
    images = np.sort(images) if request.param else images
    boxes = rng.integers(0, 2, (80, 4)).astype(np.float64) * 10
    boxes[np.isin(images, (2, 5))] /= 40
    boxes[7] = np.nan
    return raw_annotations(images, boxes, rng.integers(0, 2, 80))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_repeated_boxes(raw, size, monkeypatch):
    monkeypatch.setattr(label_checks, "BLOCK_SIZE", size)
    rows = [
        (i, label, *box) for i, label, box in zip(raw.box_images, raw.labels, raw.boxes.tolist())
    ]
    expected = [t for t in range(80) if rows[t] in rows[:t]]
    assert label_checks._repeated(raw.box_images, raw.labels, raw.boxes).tolist() == expected
    assert len(expected) > 3


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_images_whose_boxes_are_shares(raw, size, monkeypatch):
    monkeypatch.setattr(label_checks, "BLOCK_SIZE", size)
    images = raw.box_images.tolist()
    largest = {
        i: max(np.nan_to_num(raw.boxes[t]).max() for t in range(80) if images[t] == i)
        for i in images
    }
    expected = [str(images.index(i)) for i in sorted(largest) if largest[i] <= 1.5]
    found = label_checks._normalized_images(raw)
    assert [str(t) for t in found] == expected
    assert {images[int(where)] for where in expected} == {2, 5}


def test_without_boxes(monkeypatch):
    none = raw_annotations(np.zeros(1, int), np.zeros((1, 4)), np.zeros(1, int))
    none.boxes, none.labels, none.box_images = none.boxes[:0], none.labels[:0], none.box_images[:0]
    assert not len(label_checks._repeated(none.box_images, none.labels, none.boxes))
    assert not len(label_checks._normalized_images(none))
