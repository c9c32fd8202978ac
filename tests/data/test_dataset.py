import json

import numpy as np
import pytest

from keras_retinanet.data.dataset import ANY_CLASS, Finding, summarize, write_findings
from keras_retinanet.errors import DataError

BOXES = {"a.jpg": [("cat", 1)], "b.jpg": [], "c.jpg": [("dog", 2), ("cat", 3)]}
FINDINGS = [
    Finding("truncated", "/x/ü.jpg", "image skipped"),
    Finding("outside", "t.json: annotations[3]", "box dropped"),
    Finding("outside", "t.json: annotations[8]", "box dropped"),
]


@pytest.fixture
def dataset(coco):
    """Three images; each box begins at an x of its own."""
    for name, objects in BOXES.items():
        coco.add_image(name, (64 + len(objects), 48))
        for class_name, x in objects:
            coco.add_box(name, (x, 0, x + 10, 10), class_name, ignored=x == 3, area=50 + x)
    return coco.load()


def test_rows_are_those_of_the_image(dataset):
    assert [dataset.boxes[dataset.rows(i), 0].tolist() for i in range(3)] == [[1], [], [2, 3]]
    assert (len(dataset), dataset.num_boxes) == (3, 3)
    assert dataset.num_objects.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("images", "x"), [([2, 0], [2, 3, 1]), ([1], []), ([], []), ([2, 2], [2, 3, 2, 3])]
)
def test_select_takes_images_in_order_with_all_that_is_theirs(dataset, images, x):
    selected = dataset.select(images)
    assert selected.boxes[:, 0].tolist() == x
    assert selected.areas.tolist() == [50 + value for value in x]
    assert selected.is_ignored.tolist() == [value == 3 for value in x]
    assert selected.labels.tolist() == [int(value == 2) for value in x]
    assert selected.image_ids == [dataset.image_ids[i] for i in images]
    assert selected.image_paths == [dataset.image_paths[i] for i in images]
    assert selected.widths.tolist() == [dataset.widths[i] for i in images]
    assert np.diff(selected.row_splits).tolist() == [[1, 0, 2][i] for i in images]
    assert dataset.num_boxes == 3


def test_labels_are_put_in_the_order_of_a_model_with_more_classes(dataset):
    mapped = dataset.with_classes(["dog", "bird", "cat"])
    assert mapped.class_names == ("dog", "bird", "cat")
    assert mapped.labels.tolist() == [2, 0, 2]
    assert mapped.labels.dtype == np.int32
    assert (mapped.category_ids[0], mapped.category_ids[2]) == (7, 0)
    assert mapped.category_ids[1] not in dataset.category_ids
    assert dataset.labels.tolist() == [0, 1, 0]


def test_a_class_in_use_that_the_model_lacks_is_refused(dataset):
    with pytest.raises(DataError, match=r"objects of class \['dog'\] that the model does not know"):
        dataset.with_classes(["cat", "bird"])


def test_a_class_without_objects_may_be_unknown_to_the_model(dataset):
    mapped = dataset.select([0]).with_classes(["bird", "cat"])
    assert mapped.labels.tolist() == [1]


def test_a_data_set_without_objects_fits_any_model(dataset):
    assert dataset.select([1]).with_classes(["bird"]).labels.tolist() == []


def test_regions_for_any_class_stay_what_they_are(dataset):
    dataset.labels[1:] = ANY_CLASS
    assert dataset.with_classes(["bird", "cat"]).labels.tolist() == [1, ANY_CLASS, ANY_CLASS]
    dataset.labels[0] = ANY_CLASS
    assert dataset.with_classes(["bird"]).labels.tolist() == [ANY_CLASS] * 3


def test_the_summary_counts_each_kind_and_names_its_first(dataset):
    assert summarize(FINDINGS) == [
        "2 x outside: box dropped (first: t.json: annotations[3])",
        "1 x truncated: image skipped (first: /x/ü.jpg)",
    ]
    assert summarize([]) == []


def test_the_report_holds_every_finding_and_the_counts(tmp_path):
    write_findings(FINDINGS, tmp_path / "findings.json")
    report = json.loads((tmp_path / "findings.json").read_text(encoding="utf-8"))
    assert report["counts"] == {"truncated": 1, "outside": 2}
    assert [Finding(**entry) for entry in report["findings"]] == FINDINGS


def test_regions_of_any_class_become_one_of_every_class(dataset):
    assert dataset.with_a_class_for_every_box() is dataset
    dataset.labels[dataset.is_ignored] = ANY_CLASS  # the last box, of the last image
    whole = dataset.with_a_class_for_every_box()
    assert whole.labels.tolist() == [0, 1, 0, 1]
    assert whole.boxes[:, 0].tolist() == [1, 2, 3, 3]
    assert whole.is_ignored.tolist() == [False, False, True, True]
    assert whole.row_splits.tolist() == [0, 1, 1, 4]
    assert whole.num_objects.tolist() == dataset.num_objects.tolist()


def test_its_repr_is_two_lines(dataset):
    assert repr(dataset).splitlines() == [
        "DetectionDataset: 3 images, 3 boxes, 1 of them to ignore",
        "2 classes: cat, dog",
    ]
