import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.losses import OHEM, BalancedCrossEntropy, OHEM1To3
from keras_retinanet.losses.hard_examples import hardest_after_nms

NUM_IMAGES, NUM_ANCHORS, NUM_CLASSES = 3, 40, 4


@pytest.fixture(params=range(3))
def case(request, random_boxes):
    return make_case(request.param, random_boxes)


@pytest.fixture
def one_case(random_boxes):
    return make_case(0, random_boxes)


def make_case(seed, random_boxes):
    """Targets, logits and boxes that overlap a lot, of a few images."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(IGNORE, 2, (NUM_IMAGES, NUM_ANCHORS))
    logits = rng.normal(-1, 2, (NUM_IMAGES, NUM_ANCHORS, NUM_CLASSES)).astype(np.float32)
    boxes = random_boxes(rng, NUM_IMAGES * NUM_ANCHORS, 20.0, 60.0)
    return targets, logits, boxes.reshape(NUM_IMAGES, NUM_ANCHORS, 4)


def nms_by_loops(losses, candidates, boxes, threshold, iou_by_loops):
    """All survivors (image, anchor), hardest first: suppression to its end, image by image."""
    survivors = []
    for image in range(len(losses)):
        kept = []
        for anchor in np.argsort(-losses[image]):
            if candidates[image, anchor] and all(
                iou_by_loops(boxes[image, [anchor]], boxes[image, [other]])[0, 0] <= threshold
                for other in kept
            ):
                kept.append(anchor)
        survivors += [(image, anchor) for anchor in kept]
    return sorted(survivors, key=lambda place: -losses[place])


def mask(places):
    found = np.zeros((NUM_IMAGES, NUM_ANCHORS), bool)
    for place in places:
        found[place] = True
    return found


def cross_entropy_in_float64(targets, logits):
    x = logits.astype(np.float64)
    y = np.where(targets[..., None] == np.arange(NUM_CLASSES), 1, -1)
    return np.logaddexp(0, -y * x).sum(axis=-1)


@pytest.mark.parametrize("batch_size", [1, 7, 30, 1000])
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_ohem_is_the_mean_of_the_hardest(batch_size, threshold, case, iou_by_loops):
    targets, logits, boxes = case
    losses = cross_entropy_in_float64(targets, logits)
    places = nms_by_loops(losses, targets >= BACKGROUND, boxes, threshold, iou_by_loops)
    mined = mask(places[:batch_size])
    assert 0 < mined.sum() < (targets >= BACKGROUND).sum(), "suppression has to matter"
    value = OHEM(batch_size, threshold).call(targets, {"class_logits": logits, "boxes": boxes})
    np.testing.assert_allclose(value, np.where(mined, losses, 0) / mined.sum(), rtol=1e-6)


@pytest.mark.parametrize("batch_size", [4, 16, 40, 1000])
def test_one_to_three(batch_size, case, iou_by_loops):
    targets, logits, boxes = case
    losses = cross_entropy_in_float64(targets, logits)
    positives = nms_by_loops(losses, targets >= 0, boxes, 0.5, iou_by_loops)[: batch_size // 4]
    negatives = nms_by_loops(losses, targets == BACKGROUND, boxes, 0.5, iou_by_loops)
    negatives = negatives[: 3 * len(positives)]
    mined = mask(positives + negatives)
    value = OHEM1To3(batch_size, 0.5).call(targets, {"class_logits": logits, "boxes": boxes})
    np.testing.assert_allclose(value, np.where(mined, losses, 0) / mined.sum(), rtol=1e-6)
    if batch_size == 16:
        assert len(positives) == 4 and len(negatives) == 12


def gradient_of(loss, targets, logits, boxes):
    logits = tf.Variable(logits)
    boxes = tf.Variable(boxes)
    with tf.GradientTape() as tape:
        value = loss(targets, {"class_logits": logits, "boxes": boxes})
    return value, *tape.gradient(value, [logits, boxes])


@pytest.mark.parametrize("kind", [OHEM, OHEM1To3])
def test_easy_examples_have_no_gradient_and_hard_ones_that_of_cross_entropy(kind, one_case):
    targets, logits, boxes = one_case
    _, gradient, of_boxes = gradient_of(kind(8), targets, logits, boxes)
    assert of_boxes is None, "boxes only choose"
    x = tf.Variable(logits)
    with tf.GradientTape() as tape:
        total = BalancedCrossEntropy()(targets, x)
    whole = tape.gradient(total, x).numpy()
    is_mined = np.any(gradient, axis=-1)
    assert is_mined.sum() == 8
    np.testing.assert_allclose(gradient.numpy()[is_mined], whole[is_mined] / 8, rtol=1e-5)


@pytest.mark.parametrize("kind", [OHEM, OHEM1To3])
@pytest.mark.parametrize("target", [BACKGROUND, IGNORE])
def test_images_without_objects(kind, target, one_case):
    _, logits, boxes = one_case
    targets = np.full((NUM_IMAGES, NUM_ANCHORS), target)
    value, gradient, _ = gradient_of(kind(), targets, logits, boxes)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    # 1:3 takes three negatives for each positive, and there is none.
    assert (value > 0) == np.any(gradient) == (kind is OHEM and target == BACKGROUND)


@pytest.mark.parametrize("kind", [OHEM, OHEM1To3])
def test_extreme_logits_are_finite(kind, one_case):
    targets, logits, boxes = one_case
    value, gradient, _ = gradient_of(kind(8), targets, np.sign(logits) * 100, boxes)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_degenerate_boxes_do_not_suppress_each_other(one_case):
    _, _, boxes = one_case
    scores = np.random.default_rng(0).uniform(size=boxes.shape[:2]).astype(np.float32)
    picked = hardest_after_nms(scores, np.zeros_like(boxes), count=500, iou_threshold=0.5)
    assert np.all(picked)


@pytest.mark.parametrize("kind", [OHEM, OHEM1To3])
def test_in_a_graph_of_unknown_sizes(kind, one_case):
    targets, logits, boxes = one_case
    loss = kind(8)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None, None, NUM_CLASSES)),
            tf.TensorSpec((None, None, 4)),
        ]
    )
    def graph(targets, logits, boxes):
        return loss(targets, {"class_logits": logits, "boxes": boxes})

    expected = loss(targets, {"class_logits": logits, "boxes": boxes})
    np.testing.assert_allclose(graph(targets, logits, boxes), expected, rtol=1e-6)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        OHEM(batch_size=0)
    with pytest.raises(ValueError, match="nms_iou_threshold must be between"):
        OHEM1To3(nms_iou_threshold=1.5)
