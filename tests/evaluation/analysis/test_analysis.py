"""The analysis of an evaluation against hand-made cases, pycocotools and TIDE."""

import dataclasses

import numpy as np
import pytest

from keras_retinanet.evaluation.analysis import lost_ap as lost_ap_module
from keras_retinanet.evaluation.analysis.calibration import calibration
from keras_retinanet.evaluation.analysis.confusion import confusion_matrix
from keras_retinanet.evaluation.analysis.image_errors import NO_OBJECT, ErrorKind, find_errors
from keras_retinanet.evaluation.analysis.intervals import (
    CONFIDENCE,
    ap_difference,
    ap_interval,
    average_precision,
)
from keras_retinanet.evaluation.analysis.lost_ap import lost_ap
from keras_retinanet.evaluation.analysis.thresholds import operating_points
from keras_retinanet.evaluation.coco_eval import Found, Objects, summarize

BOX = (0.0, 0.0, 10.0, 10.0)  # xywh
FAR = (100.0, 100.0, 10.0, 10.0)
HALF = (0.0, 0.0, 10.0, 4.0)  # an IoU of 0.4 with BOX


def objects(*rows, image=0):
    """rows: (box, label) or (box, label, is_ignored)."""
    boxes = np.array([row[0] for row in rows], float).reshape(-1, 4)
    return Objects(
        image=image,
        boxes=boxes,
        labels=np.array([row[1] for row in rows], int),
        areas=boxes[:, 2] * boxes[:, 3],
        is_ignored=np.array([len(row) > 2 and row[2] for row in rows], bool),
    )


def found(*rows, image=0):
    """rows: (box, label, score)."""
    return Found(
        image=image,
        boxes=np.array([row[0] for row in rows], float).reshape(-1, 4),
        labels=np.array([row[1] for row in rows], int),
        scores=np.array([row[2] for row in rows], float),
    )


def random_set(seed, *, decimals=6):
    """Objects and detections of some images: near, far, doubled, confused, and ignored ones."""
    random = np.random.default_rng(seed)
    num_classes, truth, detections = int(random.integers(1, 5)), [], []
    for image in range(int(random.integers(2, 15))):
        num = int(random.integers(0, 6))
        boxes = random.uniform((0, 0, 8, 8), (80, 80, 40, 40), (num, 4))
        labels = random.integers(0, num_classes, num)
        rows = [(*row, random.random() < 0.1) for row in zip(boxes, labels, strict=True)]
        guesses = []
        for box, label in zip(boxes, labels, strict=True):
            for _ in range(int(random.integers(0, 4))):
                place = box + random.normal(0, random.choice([1, 4, 10]), 4)
                other = label if random.random() < 0.7 else random.integers(0, num_classes)
                guesses.append((place, other, random.random()))
        guesses.append((random.uniform(8, 60, 4), random.integers(0, num_classes), random.random()))
        guesses = [] if random.random() < 0.15 else guesses
        guesses = [
            ((*box[:2], *np.maximum(box[2:], 2)), label, round(score, decimals))
            for box, label, score in guesses
        ]
        truth.append(objects(*rows, image=image))
        detections.append(found(*guesses, image=image))
    return num_classes, truth, detections


def summary_of(num_classes, truth, detections):
    return summarize(truth, detections, num_images=len(truth), num_classes=num_classes)


@pytest.mark.parametrize(
    ("detection", "kind"),
    [
        ((BOX, 0, 0.9), ErrorKind.RIGHT),
        ((HALF, 0, 0.9), ErrorKind.LOCATION),
        ((BOX, 1, 0.9), ErrorKind.CLASS),
        ((HALF, 1, 0.9), ErrorKind.BOTH),
        ((FAR, 0, 0.9), ErrorKind.BACKGROUND),
    ],
)
def test_each_kind_of_error(detection, kind):
    errors = find_errors(objects((BOX, 0)), found(detection))
    assert errors.kinds.tolist() == [kind]
    assert errors.objects.tolist() == [NO_OBJECT if kind == ErrorKind.BACKGROUND else 0]
    assert errors.is_found.tolist() == [kind == ErrorKind.RIGHT]
    # What could be mended is not missed as well.
    is_missed = kind in (ErrorKind.BOTH, ErrorKind.BACKGROUND)
    assert errors.is_missed.tolist() == [is_missed]


def test_the_worse_of_two_is_a_duplicate_whatever_their_order():
    errors = find_errors(objects((BOX, 0)), found((BOX, 0, 0.3), (BOX, 0, 0.8)))
    assert errors.rows.tolist() == [1, 0]
    assert errors.kinds.tolist() == [ErrorKind.RIGHT, ErrorKind.DUPLICATE]


def test_only_the_first_of_two_errors_mends_an_object():
    errors = find_errors(objects((BOX, 0)), found((HALF, 0, 0.3), (BOX, 1, 0.8)))
    assert errors.kinds.tolist() == [ErrorKind.CLASS, ErrorKind.LOCATION]
    assert errors.is_mendable.tolist() == [True, False]


def test_an_image_without_detections_has_missed_objects_alone():
    errors = find_errors(objects((BOX, 0), (FAR, 1)), found())
    assert errors.is_missed.tolist() == [True, True]
    assert lost_ap([errors], num_classes=2).counts[ErrorKind.MISSED] == 2


def test_regions_to_ignore_excuse_their_own_class():
    truth = objects(((0, 0, 50, 50), 0, True))
    errors = find_errors(truth, found((BOX, 0, 0.9), (BOX, 1, 0.8)))
    assert errors.is_excused.tolist() == [True, False]


def test_lost_ap_in_closed_form():
    # Two objects of one class: one found, of one the box is too far off, and a false alarm first.
    truth = objects((BOX, 0), (FAR, 0))
    near = (100.0, 100.0, 10.0, 4.0)
    errors = find_errors(truth, found((50 * np.ones(4), 0, 0.9), (BOX, 0, 0.8), (near, 0, 0.7)))
    lost = lost_ap([errors], num_classes=1)
    assert lost.ap == pytest.approx(51 / 101 * 1 / 2)  # recall 0.5 at precision 1/2
    assert lost.ap + lost.lost[ErrorKind.LOCATION] == pytest.approx(2 / 3)
    assert lost.ap + lost.lost[ErrorKind.BACKGROUND] == pytest.approx(51 / 101)
    assert lost.lost[ErrorKind.CLASS] == lost.lost[ErrorKind.MISSED] == 0
    assert lost.ap + lost.false_negatives == pytest.approx(1 / 2)
    assert lost.ap + lost.false_positives == pytest.approx(51 / 101)


@pytest.mark.parametrize("seed", range(20))
def test_ap_is_that_of_coco(seed):
    num_classes, truth, detections = random_set(seed)
    summary = summary_of(num_classes, truth, detections)
    assert average_precision(summary.matches) == pytest.approx(summary.figures["AP"], abs=1e-12)
    low, high = ap_interval(summary.matches, num_draws=50)
    assert 0 <= low <= high <= 1
    assert ap_interval(summary.matches, num_draws=50) == (low, high)


def drawn(images, times):
    """The images as often as they are drawn, as images of their own."""
    copies = [each for each, count in zip(images, times, strict=True) for _ in range(count)]
    return [dataclasses.replace(each, image=i) for i, each in enumerate(copies)]


@pytest.mark.parametrize("seed", range(4))
def test_a_difference_is_that_of_coco_on_every_draw(seed):
    num_classes, truth, detections = random_set(seed)
    worse = [dataclasses.replace(each, scores=1 - each.scores) for each in detections]
    first, second = (summary_of(num_classes, truth, found) for found in (detections, worse))
    result = ap_difference(first.matches, second.matches, num_draws=6, seed=seed)
    random, values = np.random.default_rng(seed), []
    for _ in range(6):
        picked = random.integers(0, len(truth), len(truth))
        times = np.bincount(picked, minlength=len(truth))
        aps = [
            summary_of(num_classes, drawn(truth, times), drawn(found, times)).figures["AP"]
            for found in (detections, worse)
        ]
        if None not in aps:
            values.append(aps[0] - aps[1])
    assert result.value == pytest.approx(first.figures["AP"] - second.figures["AP"], abs=1e-12)
    tail = (1 - CONFIDENCE) / 2
    assert [result.low, result.high] == pytest.approx(np.quantile(values, [tail, 1 - tail]))


def test_what_is_the_same_does_not_differ():
    num_classes, truth, detections = random_set(1)
    matches = summary_of(num_classes, truth, detections).matches
    result = ap_difference(matches, matches)
    assert (result.value, result.low, result.high, result.is_clear) == (0, 0, 0, False)
    # Each by itself is uncertain: the pairs are what makes the difference sure.
    assert ap_interval(matches)[0] < ap_interval(matches)[1]


def test_other_images_have_no_difference():
    sides = [summary_of(*random_set(seed)).matches for seed in (1, 2)]
    with pytest.raises(ValueError, match="not of the same images"):
        ap_difference(*sides)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("decimals", [1, 6])
def test_lost_ap_is_that_of_tide(seed, decimals, monkeypatch):
    tidecv = pytest.importorskip("tidecv")
    # Some of COCO's recalls differ from its in the last bit, which can decide on which side of a
    # step one lies.
    monkeypatch.setattr(lost_ap_module, "RECALLS", np.arange(101) / 100)
    num_classes, truth, detections = random_set(seed, decimals=decimals)
    theirs, guesses = tidecv.Data("objects"), tidecv.Data("detections")
    for image in truth:
        theirs.add_image(image.image, str(image.image))
        for box, label, ignored in zip(image.boxes, image.labels, image.is_ignored, strict=True):
            add = theirs.add_ignore_region if ignored else theirs.add_ground_truth
            add(image.image, int(label), box.tolist())
    for image in detections:
        for box, label, score in zip(image.boxes, image.labels, image.scores, strict=True):
            guesses.add_detection(image.image, int(label), float(score), box.tolist())
    tide = tidecv.TIDE()
    run = tide.evaluate(theirs, guesses, mode=tidecv.TIDE.BOX)
    ((main,), (special,)) = (group.values() for group in tide.get_all_errors().values())
    mine = lost_ap(
        [find_errors(o, f) for o, f in zip(truth, detections, strict=True)],
        num_classes=num_classes,
    )
    names = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
    assert 100 * mine.ap == pytest.approx(run.ap)
    assert [100 * mine.lost[kind] for kind in lost_ap_module.ERRORS] == pytest.approx(
        [main[name] for name in names]
    )
    assert 100 * mine.false_positives == pytest.approx(special["FalsePos"])
    assert 100 * mine.false_negatives == pytest.approx(special["FalseNeg"])


def test_without_any_object_there_is_no_interval():
    summary = summary_of(1, [objects()], [found((BOX, 0, 0.9))])
    assert ap_interval(summary.matches) is None
    assert average_precision(summary.matches) is None


def test_f1_over_the_score():
    truth = objects((BOX, 0), (FAR, 0))
    guesses = found((BOX, 0, 0.9), ((50, 50, 9, 9), 0, 0.6), (FAR, 0, 0.6), ((70, 0, 9, 9), 0, 0.2))
    points = operating_points(summary_of(1, [truth], [guesses]).matches[0])
    assert points.scores.tolist() == [0.9, 0.6, 0.2]  # both of 0.6 or none
    assert points.precision.tolist() == pytest.approx([1, 2 / 3, 1 / 2])
    assert points.recall.tolist() == [0.5, 1, 1]
    assert points.f1.tolist() == pytest.approx([2 / 3, 4 / 5, 2 / 3])
    assert points.best == 1


def test_no_threshold_is_best_where_nothing_is_right():
    nothing = summary_of(1, [objects((BOX, 0))], [found()]).matches
    assert operating_points(nothing).best is None
    wrong = summary_of(1, [objects((BOX, 0))], [found((FAR, 0, 0.9))]).matches
    assert operating_points(wrong).best is None
    assert operating_points(wrong).f1.tolist() == [0]


def test_calibration_in_closed_form():
    truth = objects((BOX, 0), (FAR, 0))
    guesses = found((BOX, 0, 1.0), (FAR, 0, 0.62), ((50, 50, 9, 9), 0, 0.64))
    result = calibration(summary_of(1, [truth], [guesses]).matches)
    assert result.counts.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 1]
    assert result.mean_scores[6] == pytest.approx(0.63)
    assert result.shares_right[[6, 9]].tolist() == [0.5, 1.0]
    assert result.error == pytest.approx(2 / 3 * 0.13)
    assert calibration(summary_of(1, [truth], [found()]).matches).error is None


def test_confusion_matrix_by_hand():
    truth = [
        objects((BOX, 0), (FAR, 1), ((40, 40, 9, 9), 0)),
        objects(((0, 0, 50, 50), 1, True), image=1),
        objects((BOX, 1), image=2),
    ]
    guesses = [
        found((BOX, 1, 0.9), (FAR, 1, 0.8), ((70, 0, 9, 9), 0, 0.7), ((40, 40, 9, 9), 0, 0.1)),
        found((BOX, 1, 0.9), (BOX, 0, 0.9), image=1),  # the first is excused
    ]
    matrix = confusion_matrix(truth, guesses, num_classes=2, min_score=0.5)
    assert matrix.tolist() == [[0, 1, 1], [0, 1, 1], [2, 0, 0]]


def test_the_closest_pair_comes_first():
    shifted = (2.0, 0.0, 10.0, 10.0)
    matrix = confusion_matrix(
        [objects((BOX, 0), (shifted, 1))],
        [found((shifted, 1, 0.6), (BOX, 0, 0.9))],
        num_classes=2,
        min_score=0.5,
    )
    assert np.diag(matrix).tolist() == [1, 1, 0]


def test_as_many_detections_are_looked_at_as_count():
    many = found(*((FAR, 0, 0.9 - i / 1000) for i in range(150)))
    assert len(find_errors(objects((BOX, 0)), many).kinds) == 100
    assert len(find_errors(objects((BOX, 0)), many, max_detections=300).kinds) == 150
