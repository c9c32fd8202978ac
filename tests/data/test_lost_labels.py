"""Splits that lost their labels are refused with the reasons."""

import dataclasses

import numpy as np
import pytest

from keras_retinanet.data.checks.check import check_dataset
from keras_retinanet.data.convert.convert import convert
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.lost_labels import refuse_lost_labels
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import DataError


@pytest.fixture
def dataset(coco):
    coco.add_image("a.jpg")
    for x in (2, 12, 22):
        coco.add_box("a.jpg", (x, 4, x + 8, 30))
    return coco.load()


def dropped(number, problem="box outside the image"):
    return [Finding(problem, f"line {i}", "box dropped") for i in range(number)]


def test_a_split_with_objects_passes(dataset):
    refuse_lost_labels(dataset, "train")


@pytest.mark.parametrize(("number", "is_refused"), [(3, False), (4, True)])
def test_more_than_half_dropped(dataset, number, is_refused):
    lossy = dataclasses.replace(dataset, findings=dropped(number))
    if not is_refused:
        refuse_lost_labels(lossy, "train")
        return
    with pytest.raises(DataError, match=r"train: 4 of 7 annotations .*outside .*first: line 0"):
        refuse_lost_labels(lossy, "train")


def test_what_is_noted_is_no_loss(dataset):
    noted = [dataclasses.replace(finding, action="noted") for finding in dropped(9)]
    refuse_lost_labels(dataclasses.replace(dataset, findings=noted), "train")


def test_without_any_object_the_reasons_are_told(dataset):
    empty = dataclasses.replace(
        dataset.select([0]),
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int32),
        is_ignored=np.zeros(0, bool),
        row_splits=np.zeros(2, np.int64),
        findings=dropped(2) + dropped(1, "annotation of an unknown image"),
    )
    with pytest.raises(DataError, match=r"none of 1 images .* 2 x box outside .* 1 x annotation"):
        refuse_lost_labels(empty, "train")
    with pytest.raises(DataError, match="no box that is understood"):
        refuse_lost_labels(dataclasses.replace(empty, findings=[]), "train")
    with pytest.raises(DataError, match="names no class"):
        refuse_lost_labels(dataclasses.replace(empty, class_names=()), "train")


def test_regions_to_ignore_alone_are_no_objects(dataset):
    ignored = dataclasses.replace(dataset, is_ignored=np.ones(3, bool))
    with pytest.raises(DataError, match="all of its 3 annotations are regions to ignore"):
        refuse_lost_labels(ignored, "train")


def test_background_alone_is_an_error_of_the_check_and_stops_a_conversion(folder, tmp_path):
    folder.add_image("a.jpg")
    folder.write()
    data = folder.root / "data.yaml"
    assert not load_dataset(data, "train").num_boxes  # in Python it is the caller's choice
    report = check_dataset(data)
    assert report.exit_status == 2
    problems = {finding.problem for finding in report.findings}
    assert problems & {"split without any object", "no class at all"}
    with pytest.raises(DataError, match=r"none of (its )?1 images"):
        convert(data, tmp_path / "converted", target="coco")
    assert not (tmp_path / "converted").exists()
