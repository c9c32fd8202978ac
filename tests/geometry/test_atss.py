"""Matches by ATSS against a slow float64 reference that goes object by object."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.atss import match_atss

HEIGHT, WIDTH = 160, 192
ONE = AnchorGenerator(ratios=(1.0,), scales=(2.0,), sizes=(16, 32, 64, 128, 256))
SIX = AnchorGenerator(scales=(1.0, 1.4), ratios=(0.5, 1.0, 2.0), order="scale")
NO_REGIONS = np.zeros((0, 4), np.float32)
MARGIN = 1e-5


def match(gt_boxes, regions=NO_REGIONS, *, generator=ONE, height=HEIGHT, width=WIDTH, **settings):
    return match_atss(
        tf.reshape(tf.cast(gt_boxes, tf.float32), (-1, 4)),
        tf.reshape(tf.cast(regions, tf.float32), (-1, 4)),
        anchor_generator=generator,
        height=height,
        width=width,
        **settings,
    )


def eagerly(cases, **settings):
    return [np.asarray(match(*case, **settings)) for case in cases]


def in_tf_data(cases, **settings):
    boxes, side = tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((), tf.int32)
    dataset = tf.data.Dataset.from_generator(
        lambda: ((*case, HEIGHT, WIDTH) for case in cases),
        output_signature=(boxes, boxes, side, side),
    ).map(lambda gt, ignored, h, w: match(gt, ignored, height=h, width=w, **settings))
    return list(dataset.as_numpy_iterator())


def reference(gt_boxes, regions, generator, iou_by_loops, *, k=9):
    """Algorithm 1 of the paper, and which anchors float32 cannot decide otherwise."""
    anchors = np.asarray(generator(HEIGHT, WIDTH), np.float64)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    levels = np.cumsum([0, *generator.num_anchors_per_level(HEIGHT, WIDTH)])
    matches, best = np.full(len(anchors), BACKGROUND), np.zeros(len(anchors))
    certain = np.ones(len(anchors), bool)
    for index, box in enumerate(np.float64(gt_boxes)):
        candidates = []
        for first, end in itertools.pairwise(levels):
            cells = centres[first : end : generator.num_per_cell]
            distance = ((cells - (box[:2] + box[2:]) / 2) ** 2).sum(axis=1)
            order = np.argsort(distance, kind="stable")
            for cell in order[:k]:
                start = first + cell * generator.num_per_cell
                candidates += range(start, start + generator.num_per_cell)
            assert len(order) <= k or distance[order[k]] - distance[order[k - 1]] > MARGIN, "a tie"
        iou = iou_by_loops(box[None], anchors[candidates])[0]
        threshold = iou.mean() + iou.std(ddof=1)
        for place, overlap in zip(candidates, iou):
            gap = min(*(centres[place] - box[:2]), *(box[2:] - centres[place]))
            certain[place] &= abs(overlap - threshold) > MARGIN and abs(gap) > MARGIN
            if overlap >= threshold and gap > 0:
                certain[place] &= abs(overlap - best[place]) > MARGIN
                if overlap > best[place]:
                    matches[place], best[place] = index, overlap
    for region in np.float64(regions):
        common = np.minimum(anchors[:, 2:], region[2:]) - np.maximum(anchors[:, :2], region[:2])
        cover = np.prod(np.maximum(common, 0), 1) / np.prod(anchors[:, 2:] - anchors[:, :2], 1)
        certain &= abs(cover - 0.5) > MARGIN
        matches[(cover >= 0.5) & (matches < 0)] = IGNORE
    return matches, certain


@pytest.mark.parametrize("generator", [ONE, SIX], ids=["one anchor", "six anchors"])
@pytest.mark.parametrize("run", [eagerly, in_tf_data])
def test_equals_the_papers_algorithm(run, generator, rng, random_boxes, iou_by_loops):
    cases = [
        (
            random_boxes(rng, count, 6.0, 120.0, HEIGHT, WIDTH),
            random_boxes(rng, regions, 20.0, 150.0, HEIGHT, WIDTH),
        )
        for count, regions in [(1, 0), (5, 2), (25, 1), (0, 2)]
    ]
    found = run(cases, generator=generator)
    for case, matches in zip(cases, found, strict=True):
        expected, certain = reference(*case, generator, iou_by_loops)
        assert certain.mean() > 0.99
        np.testing.assert_array_equal(matches[certain], expected[certain])
    assert {IGNORE, BACKGROUND} < set(found[1]) and len(set(found[2])) > 20


@pytest.mark.parametrize("k", [1, 4, 1000])
def test_other_numbers_of_candidates(k, rng, random_boxes, iou_by_loops):
    boxes = random_boxes(rng, 6, 10.0, 100.0, HEIGHT, WIDTH)
    expected, certain = reference(boxes, NO_REGIONS, ONE, iou_by_loops, k=k)
    matches = np.asarray(match(boxes, candidates=k))
    np.testing.assert_array_equal(matches[certain], expected[certain])
    assert certain.mean() > 0.99 and (matches >= 0).any()


def test_objects_that_no_threshold_reaches_have_anchors(rng, random_boxes):
    """Long and thin: their IoU with any square anchor is at most 1/8."""
    boxes = np.float32([[10, 60, 170, 76], [90, 4, 106, 150]])
    matches = np.asarray(match(boxes))
    assert {0, 1} <= set(matches.tolist())
    assert IGNORE not in matches, "nothing lies between positive and negative"


def test_centres_of_an_objects_anchors_lie_within_it(rng, random_boxes):
    boxes = random_boxes(rng, 20, 8.0, 100.0, HEIGHT, WIDTH)
    matches = np.asarray(match(boxes))
    anchors = np.asarray(ONE(HEIGHT, WIDTH))[matches >= 0]
    centres, owners = (anchors[:, :2] + anchors[:, 2:]) / 2, boxes[matches[matches >= 0]]
    assert (centres > owners[:, :2]).all() and (centres < owners[:, 2:]).all()


def test_of_equal_objects_the_first_has_the_anchors():
    matches = np.asarray(match([[40, 40, 80, 80], [40, 40, 80, 80]]))
    assert 0 in matches and 1 not in matches


def test_an_object_in_an_ignored_region_is_trained():
    region = [[0, 0, WIDTH, HEIGHT]]
    matches = np.asarray(match([[41, 42, 82, 80]], region))
    assert 0 in matches
    covered = np.asarray(ONE(HEIGHT, WIDTH)) - [0, 0, WIDTH, HEIGHT]
    inside = (covered[:, :2] >= 0).all(axis=1) & (covered[:, 2:] <= 0).all(axis=1)
    assert inside.any() and BACKGROUND not in matches[inside]


class TestForceMatch:
    TINY = np.float32([[50.5, 50.5, 51.5, 51.5], [100, 30, 140, 70]])  # between the cells' centres

    def test_an_object_without_an_anchor_gets_its_best_candidates(self, iou_by_loops):
        plain = np.asarray(match(self.TINY))
        assert 0 not in plain and 1 in plain, "the paper's rule gives it none"
        forced = np.asarray(match(self.TINY, force_match=True))
        places = np.flatnonzero(forced == 0)
        iou = iou_by_loops(self.TINY[:1], np.asarray(ONE(HEIGHT, WIDTH)))[0]
        assert len(places) and iou[places] == pytest.approx(iou.max())
        np.testing.assert_array_equal(np.delete(forced, places), np.delete(plain, places))

    @pytest.mark.parametrize("run", [eagerly, in_tf_data])
    def test_many_tiny_objects_have_anchors(self, run, rng, random_boxes):
        boxes = random_boxes(rng, 30, 1.0, 3.0, HEIGHT, WIDTH)
        (plain,), (forced,) = (
            run([(boxes, NO_REGIONS)], force_match=force) for force in (False, True)
        )
        assert len(set(plain[plain >= 0])) < len(set(forced[forced >= 0])) <= 30
        taken = plain >= 0
        np.testing.assert_array_equal(forced[taken], plain[taken])

    def test_does_nothing_where_all_have_anchors(self, rng, random_boxes):
        boxes = [[20, 20, 60, 60], [100, 30, 140, 70]]
        np.testing.assert_array_equal(match(boxes, force_match=True), match(boxes))

    def test_an_object_outside_the_image_has_none(self):
        matches = np.asarray(match([[-5000, 0, -4990, 10]], force_match=True))
        assert set(matches) == {BACKGROUND}

    def test_without_objects(self):
        matches = np.asarray(match(np.zeros((0, 4)), force_match=True))
        assert set(matches) == {BACKGROUND}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 70), (8, 200)])
def test_odd_sizes_have_a_match_for_each_anchor(height, width):
    matches = np.asarray(match([[0, 0, 6, 6]], height=height, width=width))
    assert matches.shape == (np.asarray(ONE(height, width)).shape[0],) and matches.dtype == np.int32
