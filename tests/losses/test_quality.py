"""Quality focal and varifocal loss against float64 NumPy, class by class, and their limits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.losses import (
    BalancedCrossEntropy,
    FocalLoss,
    QualityFocalLoss,
    VarifocalLoss,
)

LOSSES = [
    QualityFocalLoss(),
    QualityFocalLoss(1.0),
    QualityFocalLoss(1.5),
    QualityFocalLoss(0.0),
    VarifocalLoss(),
    VarifocalLoss(0.3, 1.0),
    VarifocalLoss(1.0, 0.0),
]


def iou(a, b):
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = np.float64(a), np.float64(b)
    common = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
    return common / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - common)


def term(loss, x, quality):
    """The papers' formulas of one anchor and class, in float64."""
    p, log_p, log_not_p = 1 / (1 + np.exp(-x)), -np.logaddexp(0, -x), -np.logaddexp(0, x)
    cross_entropy = -(quality * log_p + (1 - quality) * log_not_p)
    if isinstance(loss, QualityFocalLoss):
        return abs(quality - p) ** loss.beta * cross_entropy
    return quality * cross_entropy if quality > 0 else -loss.alpha * p**loss.gamma * log_not_p


def by_loops(loss, targets, logits, qualities):
    """Values [B, A], and the derivatives by central differences [B, A, K]."""
    values, gradient = np.zeros(targets.shape), np.zeros(logits.shape)
    for i, j, k in np.ndindex(logits.shape):
        if targets[i, j] == IGNORE:
            continue
        quality, x = qualities[i, j] if targets[i, j] == k else 0.0, np.float64(logits[i, j, k])
        values[i, j] += term(loss, x, quality)
        up, down = term(loss, x + 1e-5, quality), term(loss, x - 1e-5, quality)
        gradient[i, j, k] = (up - down) / 2e-5
    return values, gradient


@pytest.fixture
def boxes(rng, random_boxes):
    """Of 2 images with 60 anchors, beside those that they should be: many IoUs, and some of 0."""
    matched = random_boxes(rng, 120, 10.0, 40.0).reshape(2, 60, 4)
    shift = rng.normal(0, 4, (2, 60, 4)).astype(np.float32)
    shift[:, ::6] = 500.0
    return matched + shift, matched


def value_and_gradients(loss, targets, logits, boxes, upstream=None):
    given = [tf.constant(v, tf.float32) for v in (logits, *boxes)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = loss.call(
            targets, dict(zip(("class_logits", "boxes", "matched_boxes"), given, strict=True))
        )
    return value.numpy(), tape.gradient(value, given, upstream)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: str(list(loss.get_config().values())[1:]))
def test_value_and_gradient_are_the_papers(loss, targets_and_logits, boxes):
    targets, logits = targets_and_logits
    qualities = np.array([[iou(*pair) for pair in zip(*image)] for image in zip(*boxes)])
    assert qualities.mean() > 0.2 and qualities.max() > 0.8 and (qualities == 0).sum() >= 20
    value, (gradient, *_) = value_and_gradients(loss, targets, logits, boxes)
    expected, slope = by_loops(loss, targets, logits, qualities)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5)
    assert not np.any(value[targets == IGNORE]) and not np.any(gradient[targets == IGNORE])


@pytest.mark.parametrize("loss", [QualityFocalLoss(), VarifocalLoss()], ids=lambda loss: loss.name)
class TestBoth:
    def test_no_gradient_reaches_the_target(self, loss, targets_and_logits, boxes):
        _, gradients = value_and_gradients(loss, *targets_and_logits, boxes)
        assert np.any(gradients[0]) and gradients[1] is None and gradients[2] is None

    def test_gradient_follows_what_comes_from_above(self, loss, rng, targets_and_logits, boxes):
        upstream = rng.normal(size=(2, 60)).astype(np.float32)
        _, (plain, *_) = value_and_gradients(loss, *targets_and_logits, boxes)
        _, (scaled, *_) = value_and_gradients(loss, *targets_and_logits, boxes, upstream)
        np.testing.assert_allclose(scaled, plain * upstream[..., None], rtol=1e-6)

    def test_extreme_logits_are_finite(self, loss, boxes):
        logits = np.full((2, 60, 3), -1e4, np.float32)
        logits[0] = 1e4
        targets = np.resize([0, 2, BACKGROUND], (2, 60))
        value, (gradient, *_) = value_and_gradients(loss, targets, logits, boxes)
        assert np.isfinite(value).all() and np.isfinite(gradient).all() and value.max() > 100

    def test_the_same_inside_a_graph(self, loss, targets_and_logits, boxes):
        eager = value_and_gradients(loss, *targets_and_logits, boxes)[0]
        names = ("class_logits", "boxes", "matched_boxes")
        given = dict(zip(names, (targets_and_logits[1], *boxes), strict=True))
        graph = tf.function(loss.call)(tf.constant(targets_and_logits[0]), given)
        np.testing.assert_allclose(graph, eager, rtol=1e-6)

    def test_least_where_the_score_is_the_quality(self, loss, random_boxes, rng):
        """A box of IoU 0.6: of all scores 0.6 costs least."""
        scores = np.linspace(0.05, 0.95, 19, dtype=np.float32)
        pair = np.float32([[0, 0, 10, 6]]), np.float32([[0, 0, 10, 10]])
        given = [np.broadcast_to(box, (1, 19, 4)) for box in pair]
        logits = np.log(scores / (1 - scores))[None, :, None]
        value, _ = value_and_gradients(loss, np.zeros((1, 19), int), logits, given)
        assert scores[value[0].argmin()] == pytest.approx(0.6)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_quality_focal_with_perfect_boxes_is_the_focal_loss(beta, targets_and_logits, boxes):
    perfect = boxes[1], boxes[1]
    value, (gradient, *_) = value_and_gradients(
        QualityFocalLoss(beta), *targets_and_logits, perfect
    )
    targets, logits = targets_and_logits[0], tf.constant(targets_and_logits[1])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        expected = FocalLoss(gamma=beta, alpha=None).call(targets, logits)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, tape.gradient(expected, logits), rtol=1e-5, atol=1e-30)


def test_varifocal_with_perfect_boxes_and_no_focus_is_cross_entropy(targets_and_logits, boxes):
    perfect = boxes[1], boxes[1]
    loss = VarifocalLoss(alpha=1.0, gamma=0.0)
    value, _ = value_and_gradients(loss, *targets_and_logits, perfect)
    expected = BalancedCrossEntropy().call(*targets_and_logits)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_varifocal_background_is_the_focal_loss(boxes, rng):
    logits = rng.normal(0, 4, (2, 60, 5)).astype(np.float32)
    background = np.full((2, 60), BACKGROUND)
    value, _ = value_and_gradients(VarifocalLoss(0.75, 2.0), background, logits, boxes)
    expected = FocalLoss(gamma=2.0, alpha=0.25).call(background, logits)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QualityFocalLoss(0.5), "beta must be 0, or at least 1, got 0.5"),
        (lambda: QualityFocalLoss(-1), "beta must be 0, or at least 1, got -1"),
        (lambda: VarifocalLoss(alpha=-1), "alpha must not be negative, got -1"),
        (lambda: VarifocalLoss(gamma=-0.5), "gamma must not be negative, got -0.5"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


def test_saved_with_a_detection_loss():
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(VarifocalLoss(0.6, 1.0))
    )
    assert (copy.alpha, copy.gamma, copy.needs_boxes) == (0.6, 1.0, True)
