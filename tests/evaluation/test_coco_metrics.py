"""The figures are those of pycocotools, whatever is thrown at both."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_retinanet.evaluation.coco_metrics import (
    COCO_FIGURES,
    IOU_THRESHOLDS,
    RECALLS,
    CocoMatcher,
    Objects,
    class_ap,
)

NUM_CLASSES = 4


def make_case(seed):
    """Objects and detections of 12 images: whole pixels and few scores, so that ties abound."""
    rng = np.random.default_rng(seed)
    objects, found = [], []
    for image in range(12):
        count = int(rng.integers(0, 14))
        centres = rng.integers(0, 150, (count, 2))
        sides = rng.choice([8, 20, 33, 60, 97, 150], (count, 2))
        boxes = np.concatenate([centres, sides], axis=1).astype(np.float64)
        labels = rng.integers(0, NUM_CLASSES - 1, count)  # the last class has no objects
        crowd = rng.random(count) < 0.2
        areas = boxes[:, 2] * boxes[:, 3] * rng.choice([0.5, 1.0], count)
        objects += [(image, int(k), b, a, c) for k, b, a, c in zip(labels, boxes, areas, crowd)]
        copies = np.repeat(np.arange(count), 3)
        near = boxes[copies] + rng.integers(-6, 7, (len(copies), 4))
        near[:, 2:] = np.maximum(near[:, 2:], 1)
        n = int(rng.integers(0, 60))
        far = np.concatenate([rng.integers(0, 150, (n, 2)), rng.integers(1, 120, (n, 2))], axis=1)
        dt_labels = np.concatenate([labels[copies], rng.integers(0, NUM_CLASSES, n)])
        is_wrong = rng.random(len(dt_labels)) < 0.1
        dt_labels = np.where(is_wrong, NUM_CLASSES - 1, dt_labels)
        scores = rng.integers(0, 40, len(dt_labels)) / 40
        found.append((np.concatenate([near, far]).astype(np.float64), scores, dt_labels))
    return objects, found


def by_pycocotools(objects, found):
    def coco(annotations):
        result = COCO()
        result.dataset = {
            "images": [{"id": i} for i in range(len(found))],
            "categories": [{"id": k} for k in range(NUM_CLASSES)],
            "annotations": [{"id": i + 1, **a} for i, a in enumerate(annotations)],
        }
        result.createIndex()
        return result

    def entry(image, label, box, **more):
        return {"image_id": image, "category_id": label, "bbox": box.tolist(), **more}

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco([entry(i, k, b, area=a, iscrowd=int(c)) for i, k, b, a, c in objects])
        detections = coco(
            [
                entry(i, int(k), b, area=b[2] * b[3], score=float(s), iscrowd=0)
                for i, (boxes, scores, labels) in enumerate(found)
                for b, s, k in zip(boxes, scores, labels)
            ]
        )
        expected = COCOeval(truth, detections, "bbox")
        expected.evaluate()
        expected.accumulate()
        expected.summarize()
    return expected


def by_image_and_label(objects):
    grouped = {}
    for image, label, *rest in objects:
        grouped.setdefault((image, label), []).append(rest)
    return {key: Objects(*map(np.array, zip(*rows))) for key, rows in grouped.items()}


def matched(objects, found, order):
    matcher = CocoMatcher(NUM_CLASSES, by_image_and_label(objects))
    for image in order:
        matcher.add(image, *found[image])
    return matcher.summary()


@pytest.mark.parametrize("seed", range(12))
def test_all_figures_are_pycocotools(seed):
    objects, found = make_case(seed)
    expected = by_pycocotools(objects, found)
    order = np.random.default_rng(seed).permutation(len(found))  # as they come
    figures, precision = matched(objects, found, order)
    np.testing.assert_array_equal(precision, expected.eval["precision"][..., 0, -1])
    assert (precision[..., -1] == -1).all() and (precision[..., 0] > -1).all()
    for name, value in zip(COCO_FIGURES, expected.stats):
        assert figures[name] == (None if value == -1 else pytest.approx(value, abs=1e-12)), name
    assert 0 < figures["AP"] < 1


def test_more_than_100_detections_of_a_class_are_cut():
    box = np.array([10.0, 10, 50, 50])
    objects = [(0, 0, box, 2500.0, False)]
    found = [
        (np.tile(box + np.array([200, 0, 0, 0]), (101, 1)), np.full(101, 0.9), np.zeros(101, int))
    ]
    found[0][0][100], found[0][1][100] = box, 0.1
    expected = by_pycocotools(objects, found)
    figures, _ = matched(objects, found, [0])
    assert expected.stats[0] == figures["AP"] == 0


def test_precisions_of_one_right_and_one_wrong():
    box = np.array([10.0, 10, 50, 50])
    objects = [(0, 0, box, 2500.0, False), (1, 0, box, 2500.0, False)]
    found = [
        (np.array([box, box + np.array([100, 0, 0, 0])]), np.array([0.5, 0.9]), np.zeros(2, int)),
        (np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)),
    ]
    _, precision = matched(objects, found, [0, 1])
    assert precision.shape == (len(IOU_THRESHOLDS), len(RECALLS), NUM_CLASSES)
    # Precision 1/2 up to the recall of 1/2, and nothing beyond.
    np.testing.assert_allclose(precision[:, RECALLS <= 0.5, 0], 0.5)
    assert (precision[:, RECALLS > 0.5, 0] == 0).all()
    assert class_ap(precision) == [pytest.approx(0.5 * 51 / 101), None, None, None]
