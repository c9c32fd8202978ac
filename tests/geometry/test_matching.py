import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.matching import match_anchors, match_regions

HEIGHT, WIDTH = 160, 192
# Fewer anchors than the paper's, since the reference compares pair by pair.
GENERATOR = AnchorGenerator(scales=(1.0, 1.4), ratios=(0.5, 1.0, 2.0))
NO_REGIONS = np.zeros((0, 4), np.float32)
# Float32 may decide either way where float64 sees two values as close as this.
MARGIN = 1e-5


def match(gt_boxes, ignored_regions=NO_REGIONS, *, height=HEIGHT, width=WIDTH, **settings):
    settings = {"anchor_generator": GENERATOR, **settings}
    return match_anchors(
        tf.reshape(tf.cast(gt_boxes, tf.float32), (-1, 4)),
        tf.reshape(tf.cast(ignored_regions, tf.float32), (-1, 4)),
        height=height,
        width=width,
        **settings,
    )


def match_in_tf_data(cases, **settings):
    """Matches of several pairs of gt_boxes and ignored regions, out of one pipeline."""

    def elements():
        for gt_boxes, ignored_regions in cases:
            yield gt_boxes, ignored_regions, HEIGHT, WIDTH

    boxes, side = tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((), tf.int32)
    dataset = tf.data.Dataset.from_generator(
        elements, output_signature=(boxes, boxes, side, side)
    ).map(lambda gt, ignored, h, w: match(gt, ignored, height=h, width=w, **settings))
    return list(dataset.as_numpy_iterator())


def match_eagerly(cases, **settings):
    return [np.asarray(match(*case, **settings)) for case in cases]


@pytest.fixture(scope="module")
def anchors():
    return np.asarray(GENERATOR(HEIGHT, WIDTH))


@pytest.fixture(scope="module")
def reference(anchors, iou_by_loops):
    """A function: gt_boxes, ignored regions -> matches by pairwise IoU, and which are certain."""

    def compute(gt_boxes, ignored, *, positive=0.5, negative=0.4):
        iou = iou_by_loops(gt_boxes, anchors)
        ranked = np.sort(np.concatenate([np.full((2, len(anchors)), -1.0), iou]), axis=0)
        best, second = ranked[-1], ranked[-2]
        area = np.prod(anchors[:, 2:] - anchors[:, :2], axis=1, dtype=np.float64)
        covered = np.zeros(len(anchors), bool)
        certain = np.ones(len(anchors), bool)
        for region in ignored.astype(np.float64):
            common = np.minimum(anchors[:, 2:], region[2:]) - np.maximum(anchors[:, :2], region[:2])
            cover = np.prod(np.maximum(common, 0), axis=1) / area
            covered |= cover >= 0.5
            certain &= abs(cover - 0.5) > MARGIN
        matches = np.where((best >= negative) | covered, IGNORE, BACKGROUND)
        if len(gt_boxes):
            matches = np.where(best >= positive, iou.argmax(axis=0), matches)
        for threshold in (positive, negative):
            certain &= abs(best - threshold) > MARGIN
        certain &= (best < positive) | (best - second > MARGIN)
        return matches, certain, iou

    return compute


@pytest.mark.parametrize("run", [match_eagerly, match_in_tf_data])
def test_equals_pairwise_iou(run, rng, random_boxes, reference):
    cases = [
        (
            random_boxes(rng, count, 4.0, 400.0, HEIGHT, WIDTH),
            random_boxes(rng, num_regions, 30.0, 200.0, HEIGHT, WIDTH),
        )
        for count in (0, 1, 40)
        for num_regions in (0, 3)
    ]
    for case, matches in zip(cases, run(cases), strict=True):
        expected, certain, _ = reference(*case)
        assert matches.dtype == np.int32 and matches.shape == expected.shape
        assert certain.mean() > 0.99
        np.testing.assert_array_equal(matches[certain], expected[certain])
        assert (matches == BACKGROUND).any()
    # The last case has everything.
    assert {BACKGROUND, IGNORE} < set(matches.tolist()) and matches.max() > 0


@pytest.mark.parametrize("low", [1.0, 20.0, 100.0, 400.0])
def test_objects_of_all_sizes(low, rng, random_boxes, reference):
    gt_boxes = random_boxes(rng, 12, low, 1.5 * low, HEIGHT, WIDTH)
    expected, certain, _ = reference(gt_boxes, NO_REGIONS)
    np.testing.assert_array_equal(np.asarray(match(gt_boxes))[certain], expected[certain])


@pytest.mark.parametrize(("positive", "negative"), [(0.5, 0.5), (0.7, 0.3), (0.35, 0.1)])
def test_other_thresholds(positive, negative, rng, random_boxes, reference):
    gt_boxes = random_boxes(rng, 15, 20.0, 150.0, HEIGHT, WIDTH)
    expected, certain, _ = reference(gt_boxes, NO_REGIONS, positive=positive, negative=negative)
    matches = match(gt_boxes, positive_iou=positive, negative_iou=negative)
    np.testing.assert_array_equal(np.asarray(matches)[certain], expected[certain])
    assert set(expected) >= {BACKGROUND} | ({IGNORE} if positive > negative else set())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("order", {"order": "scale"}),
        ("offset", {"offset": 0.0}),
        ("rounded", {"rounded": True}),
    ],
)
def test_follows_the_generator(name, settings, rng, random_boxes, iou_by_loops):
    generator = AnchorGenerator(scales=(1.0, 1.4), ratios=(0.5, 2.0), **settings)
    gt_boxes = random_boxes(rng, 8, 20.0, 150.0, HEIGHT, WIDTH)
    best = iou_by_loops(generator(HEIGHT, WIDTH), gt_boxes).max(axis=1)
    matches = np.asarray(match(gt_boxes, anchor_generator=generator))
    certain = abs(best - 0.5) > MARGIN
    np.testing.assert_array_equal((matches >= 0)[certain], (best >= 0.5)[certain])
    assert (matches >= 0).any()


def square_anchors(anchors):
    """(index, box) of one square anchor inside the image on each level, P3 to P5."""
    sides = anchors[:, 2:] - anchors[:, :2]
    for size in (32, 64, 128):
        is_square = (sides == size).all(axis=1)
        inside = (anchors[:, :2] >= 0).all(axis=1) & (anchors[:, 2:] <= (WIDTH, HEIGHT)).all(axis=1)
        index = np.flatnonzero(is_square & inside)[0]
        yield index, anchors[index]


def shared(anchor, width_share, height_share):
    x1, y1, x2, y2 = anchor
    return [[x1, y1, x1 + width_share * (x2 - x1), y1 + height_share * (y2 - y1)]]


@pytest.mark.parametrize(
    ("width_share", "height_share", "expected"),
    [
        (0.5, 1.0, 0),  # IoU exactly 0.5
        (1.0, 2.0, 0),  # likewise, with the object the larger one
        (0.499, 1.0, IGNORE),
        (1.0, 2.5, IGNORE),  # IoU exactly 0.4
        (1.0, 2.501, BACKGROUND),
        (0.625, 0.64, IGNORE),  # 0.4
        (0.625, 0.639, BACKGROUND),
    ],
)
def test_boundaries_are_met_exactly(anchors, width_share, height_share, expected):
    for index, anchor in square_anchors(anchors):
        assert match(shared(anchor, width_share, height_share))[index] == expected


def test_region_over_half_an_anchor_ignores_it(anchors):
    for index, anchor in square_anchors(anchors):
        far_away = np.zeros((0, 4))
        assert match(far_away, shared(anchor, 0.5, 1.0))[index] == IGNORE
        assert match(far_away, shared(anchor, 0.499, 1.0))[index] == BACKGROUND


def test_object_in_an_ignored_region_is_still_trained(anchors):
    for index, anchor in square_anchors(anchors):
        assert match([anchor], [[0, 0, WIDTH, HEIGHT]])[index] == 0


def test_two_regions_of_less_than_half_do_not_add_up(anchors):
    _, anchor = next(square_anchors(anchors))
    x1, y1, x2, y2 = anchor
    regions = [[x1, y1, x1 + 13, y2], [x2 - 13, y1, x2, y2]]
    index = np.flatnonzero((anchors == anchor).all(axis=1))[0]
    assert match(np.zeros((0, 4)), regions)[index] == BACKGROUND


def test_nearest_object_wins(anchors):
    index, anchor = next(square_anchors(anchors))
    worse, better = shared(anchor, 0.6, 1.0)[0], shared(anchor, 0.9, 1.0)[0]
    assert match([worse, better])[index] == 1
    assert match([better, worse])[index] == 0


def test_of_equal_objects_the_first_wins(anchors):
    index, anchor = next(square_anchors(anchors))
    matches = np.asarray(match([anchor, anchor, anchor]))
    assert matches[index] == 0 and matches.max() == 0


class TestForceMatch:
    @pytest.mark.parametrize("run", [match_eagerly, match_in_tf_data])
    def test_every_object_has_its_best_anchor(self, run, rng, random_boxes, reference):
        gt_boxes = random_boxes(rng, 10, 2.0, 300.0, HEIGHT, WIDTH)
        unforced, certain, iou = reference(gt_boxes, NO_REGIONS)
        assert (iou.max(axis=1) < 0.4).any(), "no object needs forcing"
        (matches,) = run([(gt_boxes, NO_REGIONS)], force_match=True)
        # Several anchors are equally good for a tiny object; rounding may leave any of them.
        is_best = iou >= iou.max(axis=1, keepdims=True) - MARGIN
        for i in range(len(gt_boxes)):
            assert (matches[is_best[i]] == i).any()
            assert (is_best[i] | (iou[i] >= 0.5 - MARGIN))[matches == i].all()
        others = certain & ~is_best.any(axis=0)
        np.testing.assert_array_equal(matches[others], unforced[others])

    @pytest.mark.parametrize("run", [match_eagerly, match_in_tf_data])
    def test_or_these_anchors_have_their_own_best_object(self, run, rng, random_boxes, reference):
        """Detectron2's and torchvision's: what is forced is the anchor, not the object."""
        gt_boxes = random_boxes(rng, 60, 2.0, 300.0, HEIGHT, WIDTH)
        unforced, certain, iou = reference(gt_boxes, NO_REGIONS)
        (matches,) = run([(gt_boxes, NO_REGIONS)], force_match="own_best")
        is_forced = (iou >= iou.max(axis=1, keepdims=True) - MARGIN).any(axis=0)
        second, first = np.sort(iou, axis=0)[-2:]
        is_clear = first - second > MARGIN
        assert (is_forced & is_clear & (unforced < 0)).sum() > 10
        # Several anchors are equally good for a tiny object; rounding may leave any of them.
        forced = is_forced & is_clear & (matches >= 0)
        np.testing.assert_array_equal(matches[forced], iou.argmax(axis=0)[forced])
        for i in range(len(gt_boxes)):
            best = iou[i] >= iou[i].max() - MARGIN
            assert (matches[best] >= 0).any()
        others = certain & ~is_forced
        np.testing.assert_array_equal(matches[others], unforced[others])
        (best,) = run([(gt_boxes, NO_REGIONS)], force_match="best")
        assert (best != matches).any()  # some anchor is two objects' best

    def test_choices(self):
        tiny = [[100, 100, 103, 102]]
        for same in ((False, "none"), (True, "best")):
            first, second = (match(tiny, force_match=choice).numpy() for choice in same)
            np.testing.assert_array_equal(first, second)
        assert (match(NO_REGIONS, force_match="own_best").numpy() == BACKGROUND).all()
        far = match([[5000, 5000, 5050, 5050]], force_match="own_best").numpy()
        assert (far == BACKGROUND).all()
        with pytest.raises(ValueError, match="force_match must be 'none', 'best' or 'own_best'"):
            match(tiny, force_match="all")

    def test_tiny_object_has_one_only_if_forced(self):
        tiny = [[100, 100, 103, 102]]
        assert (match(tiny).numpy() < 0).all()
        assert (match(tiny, force_match=True).numpy() == 0).any()

    def test_takes_an_ignored_anchor_too(self):
        tiny = [[100, 100, 103, 102]]
        region = [[0, 0, WIDTH, HEIGHT]]
        assert (match(tiny, region, force_match=True).numpy() == 0).any()

    def test_object_without_overlap_takes_no_anchor(self):
        matches = match([[5000, 5000, 5050, 5050]], force_match=True).numpy()
        assert (matches == BACKGROUND).all()

    def test_without_objects(self):
        assert (match(NO_REGIONS, force_match=True).numpy() == BACKGROUND).all()


def test_no_objects_is_all_background():
    assert (match(NO_REGIONS).numpy() == BACKGROUND).all()


@pytest.mark.parametrize("height, width", [(65, 63), (1, 1), (127, 300)])
def test_odd_sizes_have_a_match_for_each_anchor(height, width):
    matches = match([[2, 2, 40, 50]], height=height, width=width)
    assert matches.shape == (len(GENERATOR(height, width)),)
    assert matches.dtype == tf.int32


def test_anchors_of_a_stretched_grid_match_themselves():
    """torchvision's geometry, at sides that are no multiples of the levels' strides."""
    generator = AnchorGenerator(offset=0.0, rounded=True, integer_sizes=True, step="grid")
    height, width = 427, 640
    anchors = np.asarray(generator(height, width))
    inside = (anchors[:, :2] >= 0).all(axis=1) & (anchors[:, 2] < width) & (anchors[:, 3] < height)
    picked = np.flatnonzero(inside)[::997]
    assert len(picked) > 20
    matches = match_anchors(
        tf.constant(anchors[picked]),
        tf.zeros((0, 4)),
        anchor_generator=generator,
        height=height,
        width=width,
    ).numpy()
    np.testing.assert_array_equal(matches[picked], np.arange(len(picked)))


def test_regions_alone_are_ignored_as_in_matching(rng, random_boxes):
    """Whatever the objects are: those anchors are IGNORE that matching without objects ignores."""
    regions = random_boxes(rng, 3, 20.0, 60.0).astype(np.float32)
    options = {"anchor_generator": AnchorGenerator(sizes=[8, 16, 32, 64, 128])}
    options |= {"height": 64, "width": 96}
    expected = match_anchors(np.zeros((0, 4), np.float32), regions, **options)
    found = match_regions(random_boxes(rng, 5).astype(np.float32), regions, **options)
    np.testing.assert_array_equal(found, expected)
    assert {IGNORE, BACKGROUND} == set(np.unique(found))
