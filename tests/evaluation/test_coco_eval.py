"""COCO's figures: against the definition written out in loops, and against closed forms."""

import numpy as np
import pytest

from keras_retinanet.evaluation.coco_eval import (
    COCO_FIGURES,
    IOU_THRESHOLDS,
    RECALLS,
    CocoSummary,
    Found,
    Objects,
    summarize,
)

NUM_CLASSES = 4
SIZES = {"": (0, 1e10), "s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 1e10)}


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


def iou(box, other, is_ignored):
    """IoU of boxes x, y, w, h; of a region to ignore: the part of `box` that is inside."""
    sides = [
        min(box[i] + box[i + 2], other[i] + other[i + 2]) - max(box[i], other[i]) for i in (0, 1)
    ]
    common = max(sides[0], 0) * max(sides[1], 0)
    area = box[2] * box[3]
    return common / (area if is_ignored else area + other[2] * other[3] - common)


def judged(objects, found, threshold, size, most):
    """Return (score, is right) of one class' detections that count in one image.

    The best detection takes the free object of the highest IoU; objects that do not count, being
    of another size or regions to ignore, are taken where no other is left.
    """
    low, high = size
    counts = [not ignored and low <= area <= high for _, area, ignored in objects]
    is_taken = [False] * len(objects)
    result = []
    for box, score in sorted(found, key=lambda f: -f[1])[:most]:
        choices = [
            (counts[i], overlap, i)
            for i, (other, _, ignored) in enumerate(objects)
            if (not is_taken[i] or ignored) and (overlap := iou(box, other, ignored)) >= threshold
        ]
        if choices:
            counts_here, _, taken = max(choices)
            is_taken[taken] = True
            if counts_here:
                result.append((score, True))
        elif low <= box[2] * box[3] <= high:
            result.append((score, False))
    return result, sum(counts)


def by_definition(objects, found):
    """Return the figures by name, and the precisions [T, R, K] of objects of any size."""
    precisions, recalls = {}, {}
    for label in range(NUM_CLASSES):
        for size, limits in SIZES.items():
            for most in (1, 10, 100) if size == "" else (100,):
                for t, threshold in enumerate(IOU_THRESHOLDS):
                    rows, num_objects = [], 0
                    for image, (boxes, scores, labels) in enumerate(found):
                        mine = [o[2:] for o in objects if o[0] == image and o[1] == label]
                        theirs = [x for *x, k in zip(boxes, scores, labels) if k == label]
                        here, count = judged(mine, theirs, threshold, limits, most)
                        rows += here
                        num_objects += count
                    if num_objects == 0:
                        continue
                    rows.sort(key=lambda row: -row[0])
                    right = np.cumsum([is_right for _, is_right in rows])
                    precision = right / np.arange(1, len(rows) + 1)
                    recall = right / num_objects
                    recalls[size, most, t, label] = recall[-1] if rows else 0.0
                    if most == 100:
                        precisions[size, t, label] = [
                            precision[recall >= r].max(initial=0) for r in RECALLS
                        ]

    def mean(of, *keys):
        values = [v for key, v in of.items() if all(k in (None, key[i]) for i, k in keys)]
        return float(np.mean(values)) if values else None

    figures = [mean(precisions, (0, "")), mean(precisions, (0, ""), (1, 0))]
    figures += [mean(precisions, (0, ""), (1, 5))]
    figures += [mean(precisions, (0, size)) for size in "sml"]
    figures += [mean(recalls, (0, ""), (1, most)) for most in (1, 10, 100)]
    figures += [mean(recalls, (0, size)) for size in "sml"]
    curves = -np.ones((len(IOU_THRESHOLDS), len(RECALLS), NUM_CLASSES))
    for (size, t, label), curve in precisions.items():
        if size == "":
            curves[t, :, label] = curve
    return dict(zip(COCO_FIGURES, figures, strict=True)), curves


def summary_of(objects, found, order=None, **options) -> CocoSummary:
    """COCOeval's summary of objects (image, label, box, area, is_ignored), images in any order."""
    by_image: dict = {}
    for image, *rest in objects:
        by_image.setdefault(image, []).append(rest)
    columns = {image: [np.array(c) for c in zip(*rows)] for image, rows in by_image.items()}
    return summarize(
        [
            Objects(image=i, labels=labels, boxes=boxes, areas=areas, is_ignored=is_ignored)
            for i, (labels, boxes, areas, is_ignored) in columns.items()
        ],
        [
            Found(image=int(i), boxes=found[i][0], scores=found[i][1], labels=found[i][2])
            for i in (range(len(found)) if order is None else order)
        ],
        num_images=len(found),
        num_classes=NUM_CLASSES,
        **options,
    )


@pytest.mark.parametrize("seed", range(4))
def test_all_figures_are_those_of_the_definition(seed):
    objects, found = make_case(seed)
    figures, precisions = by_definition(objects, found)
    summary = summary_of(objects, found)
    assert summary.figures == pytest.approx(figures, abs=1e-12)
    np.testing.assert_allclose(summary.precisions, precisions, atol=1e-12)
    assert (precisions[..., -1] == -1).all() and (precisions[..., 0] > -1).all()
    assert 0 < figures["AP"] < 1


def test_the_order_of_the_images_changes_nothing():
    objects, found = make_case(7)
    order = np.random.default_rng(7).permutation(len(found))
    shuffled = summary_of(objects, found, order)
    in_order = summary_of(objects, found)
    assert shuffled.figures == in_order.figures
    np.testing.assert_array_equal(shuffled.precisions, in_order.precisions)


def test_nothing_is_printed(capfd):
    summary_of(*make_case(0))
    assert capfd.readouterr() == ("", "")


def test_no_image_has_no_figures():
    summary = summarize([], [], num_images=0, num_classes=NUM_CLASSES)
    assert set(summary.figures.values()) == {None}
    assert summary.class_ap() == [None] * NUM_CLASSES


def test_the_first_object_can_be_found():
    """COCOeval takes the id 0 for "not matched"."""
    box = np.array([10.0, 10, 50, 50])
    found = [(box[None], np.array([0.9]), np.array([0]))]
    assert summary_of([(0, 0, box, 2500.0, False)], found).figures["AP"] == pytest.approx(1)


def test_more_than_100_detections_of_a_class_are_cut():
    box = np.array([10.0, 10, 50, 50])
    elsewhere = np.tile(box + np.array([200, 0, 0, 0]), (101, 1))
    scores = np.full(101, 0.9)
    elsewhere[100], scores[100] = box, 0.1
    found = [(elsewhere, scores, np.zeros(101, int))]
    assert summary_of([(0, 0, box, 2500.0, False)], found).figures["AP"] == 0
    found = [(elsewhere[1:], scores[1:], np.zeros(100, int))]
    assert summary_of([(0, 0, box, 2500.0, False)], found).figures["AP"] == pytest.approx(0.01)


def test_as_many_detections_count_as_asked_for():
    """150 objects, of which all are found, behind 20 detections of nothing."""
    x, y = (40.0 * grid.ravel() for grid in np.meshgrid(np.arange(17), np.arange(10)))
    boxes = np.stack([x, y, np.full(170, 20.0), np.full(170, 20.0)], axis=1)
    scores = np.linspace(0.9, 0.1, 170)
    objects = [(0, 0, box, 400.0, False) for box in boxes[20:]]
    found = [(boxes, scores, np.zeros(170, int))]
    recalls = np.linspace(0, 1, 101)
    for most, right in ((100, 80), (120, 100), (300, 150)):
        figures = summary_of(objects, found, max_detections=most).figures
        # Precision grows with every further detection: up to what is reached, it is the last's.
        expected = right / (right + 20) * np.mean(recalls <= right / 150)
        assert [figures["AP"], figures["AP50"]] == pytest.approx([expected] * 2)
        assert [figures[f"AR{most}"], figures["ARs"]] == pytest.approx([right / 150] * 2)
        assert figures["AR10"] == 0
        assert ("AR100" in figures) == (most == 100) and len(figures) == 12


def test_precisions_of_one_right_and_one_wrong():
    box = np.array([10.0, 10, 50, 50])
    objects = [(0, 0, box, 2500.0, False), (1, 0, box, 2500.0, False)]
    found = [
        (np.array([box, box + np.array([100, 0, 0, 0])]), np.array([0.5, 0.9]), np.zeros(2, int)),
        (np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)),
    ]
    summary = summary_of(objects, found)
    precisions = summary.precisions
    assert precisions.shape == (len(IOU_THRESHOLDS), len(RECALLS), NUM_CLASSES)
    # Precision 1/2 up to the recall of 1/2, and nothing beyond.
    np.testing.assert_allclose(precisions[:, RECALLS <= 0.5, 0], 0.5)
    assert (precisions[:, RECALLS > 0.5, 0] == 0).all()
    assert summary.class_ap() == [pytest.approx(0.5 * 51 / 101), None, None, None]
