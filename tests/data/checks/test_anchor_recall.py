"""Anchor recall against brute force: all anchors and all objects, pair by pair."""

import json

import numpy as np
import pytest

from keras_retinanet.config.load import load_config
from keras_retinanet.data.checks.anchor_fit import fit_anchors
from keras_retinanet.data.checks.anchor_recall import anchor_recall, best_anchors, scale_objects
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.training.runs.description import report_anchor_recall
from keras_retinanet.training.setup.input_batches import make_anchor_recall


def make_dataset(images, class_names=("cat", "dog")):
    """`images`: (height, width, [(box, label, is_ignored), ...]) each."""
    rows = [row for _, _, boxes in images for row in boxes]
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    return DetectionDataset(
        image_paths=[f"{i}.jpg" for i in range(len(images))],
        image_ids=list(range(len(images))),
        heights=np.array([height for height, _, _ in images], np.int32),
        widths=np.array([width for _, width, _ in images], np.int32),
        row_splits=np.cumsum([0, *(len(boxes) for _, _, boxes in images)]),
        boxes=boxes,
        labels=np.array([label for _, label, _ in rows], np.int32),
        is_ignored=np.array([crowd for _, _, crowd in rows], bool),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        class_names=class_names,
        category_ids=tuple(range(1, len(class_names) + 1)),
    )


@pytest.fixture
def random_set(rng, random_boxes):
    images = []
    for height, width in ((90, 130), (200, 70), (64, 64), (33, 301)):
        boxes = np.clip(random_boxes(rng, 25, 2.0, 150.0, height, width), 0, [width, height] * 2)
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) > 0.5]
        images.append((height, width, [(b, i % 2, i % 7 == 3) for i, b in enumerate(boxes)]))
    return make_dataset(images)


def brute_force(dataset, generator, policy, size, iou_by_loops):
    """Best IoU and its level of each object, by the pairs of all objects and all anchors."""
    iou, levels = [], []
    for i in range(len(dataset)):
        height, width = (
            int(v) for v in policy.scaled_size(dataset.heights[i], dataset.widths[i], size)
        )
        canvas = [int(v) for v in policy.canvas_size(np.int32(height), np.int32(width))]
        rows = [r for r in range(*dataset.row_splits[i : i + 2]) if not dataset.is_ignored[r]]
        scale = [width / dataset.widths[i], height / dataset.heights[i]] * 2
        pairs = iou_by_loops(dataset.boxes[rows] * scale, np.asarray(generator(*canvas)))
        level_of = np.repeat(generator.levels, generator.num_anchors_per_level(*canvas))
        iou += pairs.max(axis=1).tolist()
        levels += [set(level_of[row >= row.max() - 1e-6]) for row in pairs]
    return np.array(iou), levels


@pytest.mark.parametrize(
    ("generator", "policy"),
    [
        (AnchorGenerator(sizes=(8, 20, 40, 90, 200), scales=(1.0,)), InputPolicy(size=60)),
        (
            AnchorGenerator(sizes=(30, 70), levels=(4, 6), ratios=(0.4, 3), rounded=True),
            InputPolicy("square", 96),
        ),
        (
            AnchorGenerator(sizes=(12, 50), levels=(3, 5), ratios=(1.0,), offset=0.0),
            InputPolicy(size=48, max_size=64),
        ),
    ],
)
def test_best_anchors_are_those_of_brute_force(random_set, generator, policy, iou_by_loops):
    iou, level = best_anchors(scale_objects(random_set, policy, policy.size), generator)
    expected, levels = brute_force(random_set, generator, policy, policy.size, iou_by_loops)
    np.testing.assert_allclose(iou, expected, atol=1e-6)
    assert all(a in b for a, b in zip(level, levels, strict=True))


def test_recall_is_the_share_of_the_objects_over_the_threshold(random_set, iou_by_loops):
    generator = AnchorGenerator(sizes=(8, 20, 40, 90, 200), scales=(1.0,))
    policy = InputPolicy(size=60)
    found = anchor_recall(
        random_set,
        anchor_generator=generator,
        input_policy=policy,
        sizes=(40, 80),
        positive_iou=0.4,
    )
    expected = np.stack(
        [brute_force(random_set, generator, policy, s, iou_by_loops)[0] >= 0.4 for s in (40, 80)]
    )
    assert 0.1 < expected.mean() < 0.9
    assert found.recall == pytest.approx(expected.mean())
    rows = np.flatnonzero(~random_set.is_ignored)
    assert found.unmatched.tolist() == rows[~(expected[0] & expected[1])].tolist()
    sizes = found.by_training_size()
    assert [sizes[s]["recall"] for s in ("40", "80")] == pytest.approx(expected.mean(axis=1))
    for label, name in enumerate(random_set.class_names):
        of_class = random_set.labels[rows] == label
        row = found.by_class()[name]
        assert row["objects"] == of_class.sum()
        assert row["recall"] == pytest.approx(expected[:, of_class].mean())
    assert sum(row["objects"] for row in found.by_level().values()) == 2 * len(rows)
    assert found.images.tolist() == [
        int(np.flatnonzero(random_set.row_splits <= r)[-1]) for r in rows
    ]


def test_an_object_of_an_anchors_shape_on_a_centre_has_iou_1_on_its_level():
    dataset = make_dataset([(512, 512, [((240 - 64, 240 - 64, 240 + 64, 240 + 64), 0, False)])])
    found = anchor_recall(
        dataset, anchor_generator=AnchorGenerator(), input_policy=InputPolicy("square", 512)
    )
    assert found.best_iou[0, 0] == pytest.approx(1.0)
    assert found.by_level()["P5"] == {"objects": 1, "recall": 1.0}


def test_an_iou_that_is_exactly_the_threshold_is_enough():
    # Half of the anchor of 32 px at the centre (28, 28) of its cell.
    dataset = make_dataset([(64, 64, [((12, 12, 44, 28), 0, False)])])
    generator = AnchorGenerator(sizes=(32,), levels=(3,), ratios=(1.0,), scales=(1.0,))
    found = anchor_recall(
        dataset, anchor_generator=generator, input_policy=InputPolicy("square", 64)
    )
    assert found.best_iou[0, 0] == pytest.approx(0.5)
    assert found.recall == 1.0


def test_sizes_are_cocos_in_original_pixels():
    boxes = [(0, 0, 31, 31), (0, 0, 32, 32), (0, 0, 95, 95), (0, 0, 96, 96), (0, 0, 300, 300)]
    dataset = make_dataset([(400, 400, [(box, 0, False) for box in boxes])])
    found = anchor_recall(
        dataset, anchor_generator=AnchorGenerator(), input_policy=InputPolicy("square", 800)
    )
    objects = {name: row["objects"] for name, row in found.by_size_class().items()}
    assert objects == {"small": 1, "medium": 2, "large": 2}


def test_without_objects_there_is_no_recall():
    dataset = make_dataset([(64, 64, []), (64, 64, [((0, 0, 20, 20), 0, True)])])
    settings = {"anchor_generator": AnchorGenerator(), "input_policy": InputPolicy("square", 64)}
    found = anchor_recall(dataset, **settings)
    assert found.recall is None and not len(found.unmatched)
    assert json.loads(json.dumps(found.as_json()))["objects"] == 0
    assert fit_anchors(dataset, **settings) == AnchorGenerator()


@pytest.fixture
def long_and_small(rng):
    """Objects of about 18 px, four times as wide as high: the paper's anchors are no good."""
    sides = rng.uniform(14, 22, 120)
    corners = rng.uniform(0, 120, (120, 2))
    boxes = np.concatenate([corners, corners + np.stack([sides * 2, sides / 2], axis=1)], axis=1)
    return make_dataset([(128, 192, [(box, 0, False) for box in boxes])])


def test_fitted_anchors_find_more_and_are_as_many(long_and_small):
    policy = InputPolicy("square", 192)
    fitted = fit_anchors(long_and_small, anchor_generator=AnchorGenerator(), input_policy=policy)
    before, after = (
        anchor_recall(long_and_small, anchor_generator=g, input_policy=policy)
        for g in (AnchorGenerator(), fitted)
    )
    assert before.recall < 0.05
    assert after.recall > 0.8
    assert fitted.num_per_cell == 9 and len(fitted.sizes) == 5
    assert fitted.sizes[0] < 32
    assert min(fitted.ratios) < 0.3
    for values in (fitted.sizes, fitted.scales, fitted.ratios):
        assert list(values) == sorted(values)
        assert [float(f"{v:.3g}") for v in values] == list(values)


def test_sizes_stay_where_scales_and_ratios_suffice(rng):
    corners = rng.uniform(0, 300, (60, 2))
    boxes = np.concatenate([corners, corners + np.array([150, 30])], axis=1)
    dataset = make_dataset([(512, 512, [(box, 0, False) for box in boxes])])
    policy = InputPolicy("square", 512)
    fitted = fit_anchors(dataset, anchor_generator=AnchorGenerator(), input_policy=policy)
    assert fitted.sizes == AnchorGenerator().sizes
    found = anchor_recall(dataset, anchor_generator=fitted, input_policy=policy)
    assert found.recall == 1.0


def test_training_warns_of_low_recall_with_the_command_that_helps(long_and_small, tmp_path, caplog):
    config = load_config("quickstart", ["image.size=192"])
    report_anchor_recall(make_anchor_recall(config, long_and_small), tmp_path)
    lines = caplog.messages
    assert len(lines) == 1
    recorded = json.loads((tmp_path / "anchor_recall.json").read_text())
    assert recorded["recall"] < 0.95
    assert f"{recorded['unmatched']} of 120 objects" in lines[0]
    assert f"retinanet anchors {tmp_path / 'config.yaml'} --data DATA --fit" in lines[0]


def test_low_recall_is_recorded_and_no_warning_where_ious_do_not_decide(
    long_and_small, tmp_path, caplog
):
    found = make_anchor_recall(load_config("quickstart", ["image.size=192"]), long_and_small)
    report_anchor_recall(found, tmp_path, matches_by_iou=False)
    assert not caplog.messages
    assert json.loads((tmp_path / "anchor_recall.json").read_text())["recall"] < 0.95


def test_training_is_silent_where_the_anchors_fit(tmp_path, caplog):
    dataset = make_dataset([(64, 64, [((10, 10, 42, 42), 0, False)])])
    config = load_config("retinanet_r50_600", ["image.size=64"])
    report_anchor_recall(make_anchor_recall(config, dataset), tmp_path)
    assert not caplog.messages
    assert json.loads((tmp_path / "anchor_recall.json").read_text())["recall"] == 1.0
