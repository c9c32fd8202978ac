"""The losses beside the focal loss that treat every class by itself."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.losses import BalancedCrossEntropy, FocalLoss, FocalLossStar, HingeLoss


def cross_entropy(x_t):
    return np.logaddexp(0, -x_t), -np.exp(-np.logaddexp(0, x_t))


def focal_star(gamma, beta):
    def loss(x_t):
        shifted = gamma * x_t + beta
        return np.logaddexp(0, -shifted) / gamma, -np.exp(-np.logaddexp(0, shifted))

    return loss


def hinge(threshold):
    def loss(x_t):
        p_t, rest = (np.exp(-np.logaddexp(0, sign * x_t)) for sign in (-1, 1))
        return np.maximum(threshold - p_t, 0), np.where(p_t < threshold, -p_t * rest, 0)

    return loss


# Each loss with its closed form: value and derivative as functions of x_t, in float64.
CASES = [
    (BalancedCrossEntropy(), None, cross_entropy),
    (BalancedCrossEntropy(0.75), 0.75, cross_entropy),
    (FocalLossStar(2.0, 1.0, None), None, focal_star(2.0, 1.0)),
    (FocalLossStar(4.0, 0.0), 0.25, focal_star(4.0, 0.0)),
    (FocalLossStar(0.5, -2.0, 0.9), 0.9, focal_star(0.5, -2.0)),
    (HingeLoss(), None, hinge(0.5)),
    (HingeLoss(0.9, 0.25), 0.25, hinge(0.9)),
]
each_loss = pytest.mark.parametrize(
    ("loss", "alpha", "closed_form"),
    CASES,
    ids=[f"{loss.name}-{i}" for i, (loss, _, _) in enumerate(CASES)],
)


def reference(targets, logits, alpha, closed_form):
    x = np.asarray(logits, np.float64)
    targets = np.asarray(targets)[..., None]
    is_target = targets == np.arange(x.shape[-1])
    y = np.where(is_target, 1.0, -1.0)
    weight = 1.0 if alpha is None else np.where(is_target, alpha, 1 - alpha)
    weight = np.where(targets == IGNORE, 0.0, weight)
    value, slope = closed_form(y * x)
    return (weight * value).sum(axis=-1), weight * y * slope


@each_loss
def test_value_and_gradient_are_the_closed_form(
    loss, alpha, closed_form, value_and_gradient, targets_and_logits
):
    targets, logits = targets_and_logits
    if isinstance(loss, HingeLoss):
        # At the kink the derivative jumps, and near it p_t - threshold cancels.
        p = 1 / (1 + np.exp(-logits))
        near = np.minimum(abs(p - loss.threshold), abs(1 - p - loss.threshold)) < 0.02
        logits = np.where(near, logits + 0.5, logits).astype(np.float32)
    value, gradient = value_and_gradient(loss, targets, logits)
    expected = reference(targets, logits, alpha, closed_form)
    absolute = 1e-6 if isinstance(loss, HingeLoss) else 1e-7
    np.testing.assert_allclose(value, expected[0], rtol=1e-6, atol=absolute)
    np.testing.assert_allclose(gradient, expected[1], rtol=3e-6, atol=1e-12)


@each_loss
def test_gradient_is_the_derivative_of_the_value(loss, alpha, closed_form, value_and_gradient, rng):
    """By central differences of the float64 value, without the formula of the gradient."""
    targets = np.array([[0, BACKGROUND, 0, BACKGROUND]])
    logits = np.array([[[-1.7], [1.2], [3.1], [-2.9]]], np.float32)
    _, gradient = value_and_gradient(loss, targets, logits)
    up, down = (
        reference(targets, logits.astype(np.float64) + step, alpha, closed_form)[0]
        for step in (1e-5, -1e-5)
    )
    np.testing.assert_allclose(gradient[..., 0], (up - down) / 2e-5, rtol=1e-4, atol=1e-7)


@each_loss
@pytest.mark.parametrize("logit", [100.0, -100.0])
@pytest.mark.parametrize("target", [0, BACKGROUND])
def test_extreme_logits_are_finite(loss, alpha, closed_form, logit, target, value_and_gradient):
    value, gradient = value_and_gradient(loss, [[target]], [[[logit]]])
    expected = reference([[target]], [[[logit]]], alpha, closed_form)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6, atol=1e-20)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-6, atol=1e-20)


@each_loss
@pytest.mark.parametrize("target", [BACKGROUND, IGNORE])
def test_images_without_objects(loss, alpha, closed_form, target, value_and_gradient, rng):
    targets, logits = np.full((2, 30), target), rng.normal(size=(2, 30, 4))
    value, gradient = value_and_gradient(loss, targets, logits)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    assert value.any() == gradient.any() == (target == BACKGROUND)


@each_loss
def test_in_a_graph_and_inside_tf_data(loss, alpha, closed_form, targets_and_logits):
    data = tf.data.Dataset.from_tensors(targets_and_logits).map(loss)
    np.testing.assert_allclose(next(iter(data)), loss(*targets_and_logits), rtol=1e-6)


def test_cross_entropy_is_the_focal_loss_of_gamma_0(targets_and_logits):
    for alpha in (None, 0.25):
        np.testing.assert_array_equal(
            BalancedCrossEntropy(alpha).call(*targets_and_logits),
            FocalLoss(0.0, alpha).call(*targets_and_logits),
        )


def test_focal_star_with_gamma_1_and_beta_0_is_cross_entropy(targets_and_logits):
    np.testing.assert_allclose(
        FocalLossStar(1.0, 0.0, None).call(*targets_and_logits),
        BalancedCrossEntropy().call(*targets_and_logits),
        rtol=1e-6,
    )


def test_hinge_costs_nothing_from_its_threshold_on(value_and_gradient):
    x = np.log(0.71 / 0.29)  # p_t = 0.71
    for threshold, free in ((0.7, True), (0.72, False)):
        value, gradient = value_and_gradient(HingeLoss(threshold), [[0]], [[[x]]])
        assert (value == 0).all() == (gradient == 0).all() == free


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BalancedCrossEntropy(1.5), "alpha must be None or between"),
        (lambda: FocalLossStar(gamma=0.0), "gamma must be positive, got 0.0"),
        (lambda: HingeLoss(threshold=0.0), "threshold must be above 0"),
        (lambda: HingeLoss(threshold=1.1), "threshold must be above 0"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
