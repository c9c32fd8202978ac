import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.losses import FocalLoss, SoftmaxFocalLoss


def reference(targets, logits, gamma, alpha):
    """Value and gradient in float64, from the full softmax over [classes, background]."""
    x = np.asarray(logits, np.float64)
    num_classes = x.shape[-1]
    x = np.concatenate([x, np.zeros((*x.shape[:-1], 1))], axis=-1)
    targets = np.asarray(targets)
    index = np.where(targets >= 0, targets, num_classes)
    one_hot = index[..., None] == np.arange(num_classes + 1)
    log_p = x - np.logaddexp.reduce(x, axis=-1, keepdims=True)
    log_p_t = log_p[one_hot].reshape(targets.shape)
    # 1 - p_t as the sum of the other probabilities, and log(p_t) from it where p_t is near 1
    rest = np.where(one_hot, 0, np.exp(log_p)).sum(axis=-1)
    log_p_t = np.where(rest < 0.5, np.log1p(-np.minimum(rest, 0.5)), log_p_t)
    weight = 1.0 if alpha is None else np.where(targets >= 0, alpha, 1 - alpha)
    weight = np.where(targets == IGNORE, 0.0, weight)
    value = -weight * rest**gamma * log_p_t
    with np.errstate(divide="ignore", invalid="ignore"):
        steepness = gamma * rest ** (gamma - 1) * np.exp(log_p_t) * log_p_t if gamma else 0.0
    slope = weight * (steepness - rest**gamma)  # d value / d log p_t
    gradient = slope[..., None] * (one_hot - np.exp(log_p))
    return value, gradient[..., :-1]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_value_and_gradient(gamma, alpha, value_and_gradient, targets_and_logits):
    loss = SoftmaxFocalLoss(gamma, alpha)
    value, gradient = value_and_gradient(loss, *targets_and_logits)
    expected = reference(*targets_and_logits, gamma, alpha)
    np.testing.assert_allclose(value, expected[0], rtol=3e-6, atol=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-5, atol=1e-9)


def test_gamma_0_is_keras_categorical_cross_entropy(rng):
    targets = rng.integers(BACKGROUND, 5, (3, 40))
    logits = rng.normal(0, 3, (3, 40, 5)).astype(np.float32)
    with_background = np.concatenate([logits, np.zeros((3, 40, 1), "f")], axis=-1)
    expected = keras.ops.sparse_categorical_crossentropy(
        np.where(targets >= 0, targets, 5), with_background, from_logits=True
    )
    loss = SoftmaxFocalLoss(0.0, None).call(targets, logits)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)


def test_one_class_is_the_sigmoid_focal_loss(rng):
    """Of two exclusive outcomes, softmax and sigmoid say the same."""
    targets = rng.integers(IGNORE, 1, (2, 50))
    logits = rng.normal(0, 3, (2, 50, 1)).astype(np.float32)
    np.testing.assert_allclose(
        SoftmaxFocalLoss().call(targets, logits), FocalLoss().call(targets, logits), rtol=1e-5
    )


@pytest.mark.parametrize("logit", [100.0, -100.0, 1e4])
@pytest.mark.parametrize("target", [0, BACKGROUND, IGNORE])
def test_extreme_logits_are_finite(logit, target, value_and_gradient):
    logits = [[[logit, -logit, 0.0]]]
    value, gradient = value_and_gradient(SoftmaxFocalLoss(), [[target]], logits)
    expected = reference([[target]], logits, 2.0, 0.25)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6, atol=1e-20)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-6, atol=1e-20)


def test_images_without_objects(value_and_gradient, rng):
    logits = rng.normal(size=(2, 30, 4))
    value, gradient = value_and_gradient(SoftmaxFocalLoss(), np.full((2, 30), BACKGROUND), logits)
    assert (value > 0).all() and (gradient > 0).all()
    value, gradient = value_and_gradient(SoftmaxFocalLoss(), np.full((2, 30), IGNORE), logits)
    assert not value.any() and not gradient.any()


def test_gradient_follows_what_comes_from_above(value_and_gradient, rng, targets_and_logits):
    upstream = rng.normal(size=(2, 60))
    _, gradient = value_and_gradient(SoftmaxFocalLoss(), *targets_and_logits, upstream)
    _, expected = reference(*targets_and_logits, 2.0, 0.25)
    np.testing.assert_allclose(gradient, expected * upstream[..., None], rtol=1e-5, atol=1e-9)


def test_inside_tf_data(targets_and_logits):
    data = tf.data.Dataset.from_tensors(targets_and_logits).map(SoftmaxFocalLoss())
    expected = SoftmaxFocalLoss()(*targets_and_logits)
    np.testing.assert_allclose(next(iter(data)), expected, rtol=1e-6)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="gamma must not be negative"):
        SoftmaxFocalLoss(gamma=-1.0)
    with pytest.raises(ValueError, match="alpha must be None or between"):
        SoftmaxFocalLoss(alpha=2.0)
