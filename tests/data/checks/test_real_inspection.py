"""Anchor recall and the check on real data sets, which are not part of the project."""

from collections import Counter

import numpy as np
import pytest

from keras_retinanet.config.load import CONFIG_FOLDER, load_config
from keras_retinanet.data.checks.anchor_fit import fit_anchors
from keras_retinanet.data.checks.anchor_recall import anchor_recall
from keras_retinanet.data.checks.check import check_dataset
from keras_retinanet.data.checks.duplicates import LEAKAGE
from keras_retinanet.data.source import load_dataset
from keras_retinanet.training.setup.model_and_loss import make_anchor_generator, make_input_policy

pytestmark = pytest.mark.real_data


@pytest.fixture
def data_yaml(real_data, monkeypatch):
    monkeypatch.setenv("KERAS_RETINANET_DATA", str(real_data))
    return lambda name: CONFIG_FOLDER / "data" / f"{name}.yaml"


def settings(size):
    config = load_config("retinanet_r50_600", [f"image.size={size}"])
    return {
        "anchor_generator": make_anchor_generator(config),
        "input_policy": make_input_policy(config),
    }


@pytest.mark.parametrize("size", [400, 800])
def test_recall_on_coco_is_that_of_all_pairs(data_yaml, size, iou_by_loops):
    dataset = load_dataset(data_yaml("coco_subset"), "val", decode_images=False)
    given = settings(size)
    found = anchor_recall(dataset, **given)
    policy, generator = given["input_policy"], given["anchor_generator"]
    few = [i for i in range(len(dataset)) if 1 <= dataset.num_objects[i] <= 3][:3]
    for i in few:
        scaled = [int(v) for v in policy.scaled_size(dataset.heights[i], dataset.widths[i])]
        canvas = [int(v) for v in policy.canvas_size(*map(np.int32, scaled))]
        scale = [scaled[1] / dataset.widths[i], scaled[0] / dataset.heights[i]] * 2
        rows = [r for r in range(*dataset.row_splits[i : i + 2]) if not dataset.is_ignored[r]]
        anchors = np.asarray(generator(*canvas), np.float64)
        for row in rows:
            box = dataset.boxes[row] * scale
            # Anchors apart from the object have IoU 0, and need no loop.
            near = (anchors[:, :2] < box[2:]).all(1) & (anchors[:, 2:] > box[:2]).all(1)
            best = iou_by_loops([box], anchors[near]).max()
            assert found.best_iou[0, found.rows == row] == pytest.approx(best, abs=1e-6)
    shares = {name: row["recall"] for name, row in found.by_size_class().items()}
    assert shares["small"] < shares["medium"] < shares["large"]
    assert shares["large"] > 0.97
    assert found.recall < 0.75 if size == 400 else found.recall > 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("coco_subset", 400), ("coco_subset", 800)])
def test_fitted_anchors_find_more_on_both_splits(data_yaml, name, size):
    splits = [load_dataset(data_yaml(name), s, decode_images=False) for s in ("train", "val")]
    given = settings(size)
    fitted = fit_anchors(splits[0], **given)
    for dataset in splits:
        before = anchor_recall(dataset, **given).recall
        after = anchor_recall(dataset, **{**given, "anchor_generator": fitted}).recall
        assert after > before + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("size", [400, 800])
def test_bccd_is_found_by_all_anchors(data_yaml, size):
    dataset = load_dataset(data_yaml("bccd"), "train", decode_images=False)
    given = settings(size)
    before = anchor_recall(dataset, **given)
    assert before.recall > 0.999
    fitted = fit_anchors(dataset, **given)
    after = anchor_recall(dataset, **{**given, "anchor_generator": fitted})
    assert after.recall >= before.recall
    assert after.best_iou.mean() > before.best_iou.mean()


def test_coco_subset_has_two_images_in_both_splits(data_yaml):
    report = check_dataset(data_yaml("coco_subset"))
    problems = Counter(f.problem for f in report.findings)
    assert problems[LEAKAGE] == 2
    assert problems["crowd or difficult object: ignored in training"] == 28 + 17
    assert report.exit_status == 1
    assert report.statistics["train"]["objects"] == 2675 - 28


def test_bccd_has_two_degenerate_boxes_and_nothing_else(data_yaml):
    report = check_dataset(data_yaml("bccd"))
    assert Counter(f.problem for f in report.findings) == {
        "box of zero or negative size": 2,
        "split that holds all of train: not compared with the others": 1,
    }
