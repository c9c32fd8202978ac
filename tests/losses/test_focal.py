import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.losses import FocalLoss

GAMMAS = [0, 0.5, 1, 1.5, 2, 5]
ALPHAS = [None, 0.0, 0.25, 0.5, 0.999]


def focal_by_the_paper(targets, logits, *, gamma=2.0, alpha=0.25):
    """Loss per anchor (eq. 4, 5) and gradient (the appendix' dFL/dx) in float64."""
    x = np.asarray(logits, np.float64)
    targets = np.asarray(targets)[..., None]
    is_target = targets == np.arange(x.shape[-1])
    y = np.where(is_target, 1.0, -1.0)
    alpha_t = 1.0 if alpha is None else np.where(is_target, alpha, 1 - alpha)
    weight = np.where(targets == IGNORE, 0.0, alpha_t)
    log_p_t = -np.logaddexp(0, -y * x)
    p_t = np.exp(log_p_t)
    one_minus_p_t = np.exp(-np.logaddexp(0, y * x))
    loss = -weight * one_minus_p_t**gamma * log_p_t
    # p_t - 1 without cancellation
    gradient = weight * y * one_minus_p_t**gamma * (gamma * p_t * log_p_t - one_minus_p_t)
    return loss.sum(axis=-1), gradient


class TestFocalLoss:
    @pytest.mark.parametrize("alpha", ALPHAS)
    @pytest.mark.parametrize("gamma", GAMMAS)
    def test_value_and_gradient_are_the_papers(
        self, value_and_gradient, gamma, alpha, targets_and_logits
    ):
        value, gradient = value_and_gradient(FocalLoss(gamma, alpha), *targets_and_logits)
        expected = focal_by_the_paper(*targets_and_logits, gamma=gamma, alpha=alpha)
        assert value.shape == (2, 60) and gradient.shape == (2, 60, 5)
        # With a small alpha the positive class' share is a difference of larger numbers.
        rounding = 2e-7 * focal_by_the_paper(*targets_and_logits, gamma=gamma, alpha=None)[0]
        assert (abs(value - expected[0]) <= 1e-6 * expected[0] + rounding).all()
        np.testing.assert_allclose(gradient, expected[1], rtol=3e-6, atol=1e-30)

    def test_default_is_gamma_2_alpha_a_quarter_summed(self, targets_and_logits):
        value = FocalLoss()(*targets_and_logits)
        np.testing.assert_allclose(value, focal_by_the_paper(*targets_and_logits)[0].sum(), 1e-6)

    @pytest.mark.parametrize("gamma", GAMMAS)
    def test_gradient_is_the_derivative_of_the_value(
        self, value_and_gradient, gamma, targets_and_logits
    ):
        """By central differences of the float64 value, without any formula for the gradient."""
        targets, logits = targets_and_logits
        _, gradient = value_and_gradient(FocalLoss(gamma), targets, logits)
        step = 1e-5
        for k in range(logits.shape[-1]):
            shift = step * (np.arange(logits.shape[-1]) == k)
            up, down = (
                focal_by_the_paper(targets, logits.astype(np.float64) + s, gamma=gamma)[0]
                for s in (shift, -shift)
            )
            np.testing.assert_allclose(gradient[..., k], (up - down) / (2 * step), atol=1e-6)

    def test_gradient_follows_what_comes_from_above(
        self, value_and_gradient, rng, targets_and_logits
    ):
        upstream = rng.normal(size=(2, 60))
        _, gradient = value_and_gradient(FocalLoss(), *targets_and_logits, upstream)
        expected = focal_by_the_paper(*targets_and_logits)[1] * upstream[..., None]
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-30)

    @pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
    @pytest.mark.parametrize("num_classes", [1, 7])
    def test_equals_keras_binary_focal_crossentropy(self, gamma, num_classes, rng):
        targets = rng.integers(BACKGROUND, num_classes, (3, 40))
        # Keras clips probabilities at 1e-7, so that large logits differ.
        logits = rng.uniform(-5, 5, (3, 40, num_classes)).astype(np.float32)
        one_hot = (targets[..., None] == np.arange(num_classes)).astype(np.float32)
        oracle = keras.losses.BinaryFocalCrossentropy(
            apply_class_balancing=True, from_logits=True, alpha=0.25, gamma=gamma, reduction=None
        )
        expected = num_classes * oracle(one_hot, logits).numpy()
        np.testing.assert_allclose(FocalLoss(gamma).call(targets, logits), expected, rtol=1e-4)

    def test_gamma_0_is_cross_entropy(self, targets_and_logits):
        targets, logits = targets_and_logits
        ce = tf.nn.sigmoid_cross_entropy_with_logits(tf.one_hot(targets, 5), logits)
        expected = tf.where(targets == IGNORE, 0.0, tf.reduce_sum(ce, axis=-1))
        np.testing.assert_allclose(FocalLoss(0.0, None).call(targets, logits), expected, rtol=1e-6)

    @pytest.mark.parametrize("gamma", GAMMAS)
    def test_alpha_one_half_halves(self, gamma, targets_and_logits):
        half = FocalLoss(gamma, 0.5).call(*targets_and_logits)
        whole = FocalLoss(gamma, None).call(*targets_and_logits)
        np.testing.assert_allclose(2 * half, whole, rtol=1e-6)

    @pytest.mark.parametrize(("p_t", "factor"), [(0.9, 100), (0.968, 1000), (0.5, 4)])
    def test_down_weights_easy_examples_as_the_paper_says(self, p_t, factor):
        logits = [[[math.log(p_t / (1 - p_t))]]]
        ratio = FocalLoss(0.0).call([[0]], logits) / FocalLoss(2.0).call([[0]], logits)
        np.testing.assert_allclose(ratio, factor, rtol=0.03)

    @pytest.mark.parametrize("gamma", GAMMAS)
    @pytest.mark.parametrize("logit", [100.0, -100.0, 1e4, -1e4])
    @pytest.mark.parametrize("target", [0, BACKGROUND])
    def test_extreme_logits_are_finite(self, value_and_gradient, target, logit, gamma):
        value, gradient = value_and_gradient(FocalLoss(gamma), [[target]], [[[logit]]])
        expected = focal_by_the_paper([[target]], [[[logit]]], gamma=gamma)
        np.testing.assert_allclose(value, expected[0], rtol=1e-6, atol=1e-20)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-6, atol=1e-20)

    @pytest.mark.parametrize("gamma", GAMMAS)
    @pytest.mark.parametrize("logit", [3.0, 1e4, -1e4])
    def test_ignored_anchors_have_neither_loss_nor_gradient(self, value_and_gradient, logit, gamma):
        targets = np.array([[IGNORE, 1, IGNORE, BACKGROUND]])
        logits = np.where((targets == IGNORE)[..., None], logit, 0.5) * np.ones(3)
        value, gradient = value_and_gradient(FocalLoss(gamma), targets, logits)
        np.testing.assert_array_equal(value[:, [0, 2]], 0)
        np.testing.assert_array_equal(gradient[:, [0, 2]], 0)
        assert (value[:, [1, 3]] > 0).all() and gradient[:, [1, 3]].all()

    def test_one_class(self, value_and_gradient):
        value, gradient = value_and_gradient(FocalLoss(), [[0, BACKGROUND]], [[[0.0], [0.0]]])
        np.testing.assert_allclose(value, [[0.0625 * math.log(2), 0.1875 * math.log(2)]], 1e-6)
        assert gradient[0, 0, 0] < 0 < gradient[0, 1, 0]

    def test_all_background(self, value_and_gradient, rng):
        logits = rng.normal(size=(2, 30, 4)).astype(np.float32)
        value, gradient = value_and_gradient(FocalLoss(), np.full((2, 30), BACKGROUND), logits)
        np.testing.assert_allclose(
            value, focal_by_the_paper(np.full((2, 30), BACKGROUND), logits)[0], rtol=1e-6
        )
        assert (gradient > 0).all()

    @pytest.mark.parametrize(
        ("reduction", "reduce"),
        [("sum", np.sum), ("sum_over_batch_size", np.mean), (None, np.asarray)],
    )
    def test_called_as_a_keras_loss(self, reduction, reduce, targets_and_logits):
        value = FocalLoss(reduction=reduction)(*targets_and_logits)
        expected = reduce(focal_by_the_paper(*targets_and_logits)[0])
        assert value.shape == expected.shape
        np.testing.assert_allclose(value, expected, rtol=2e-6)

    def test_sample_weight_weighs_anchors(self, rng, targets_and_logits):
        weight = rng.uniform(size=(2, 60)).astype(np.float32)
        expected = (focal_by_the_paper(*targets_and_logits)[0] * weight).sum()
        value = FocalLoss()(*targets_and_logits, sample_weight=weight)
        np.testing.assert_allclose(value, expected, rtol=1e-5)

    def test_bfloat16_logits_are_computed_in_float32(self, targets_and_logits):
        targets, logits = targets_and_logits
        rounded = tf.cast(logits, tf.bfloat16)
        value = FocalLoss().call(targets, rounded)
        assert value.dtype == tf.float32
        expected = focal_by_the_paper(targets, tf.cast(rounded, tf.float32).numpy())[0]
        np.testing.assert_allclose(value, expected, rtol=2e-6)

    def test_in_a_graph_of_unknown_sizes(self, targets_and_logits):
        loss = FocalLoss()
        specs = [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None, None))]

        @tf.function(input_signature=specs)
        def graph(targets, logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = loss(targets, logits)
            return value, tape.gradient(value, logits)

        value, gradient = graph(*targets_and_logits)
        expected = focal_by_the_paper(*targets_and_logits)
        np.testing.assert_allclose(value, expected[0].sum(), rtol=1e-6)
        np.testing.assert_allclose(gradient, expected[1], rtol=3e-6, atol=1e-30)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"gamma": -1.0}, "gamma must not be negative"),
            ({"alpha": 1.5}, "alpha must be None or between"),
            ({"alpha": -0.1}, "alpha must be None or between"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings, message):
        with pytest.raises(ValueError, match=message):
            FocalLoss(**settings)

    @pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
    def test_backward_pass_keeps_nothing_but_the_logits(self, gamma):
        assert count_kept(FocalLoss(gamma).call) == 1

    def test_and_that_count_tells_autodiff_apart(self):
        def by_autodiff(targets, logits):
            one_hot = tf.one_hot(targets, logits.shape[-1])
            p = tf.sigmoid(logits)
            p_t = one_hot * p + (1 - one_hot) * (1 - p)
            alpha_t = one_hot * 0.25 + (1 - one_hot) * 0.75
            return tf.reduce_sum(-alpha_t * (1 - p_t) ** 2.0 * tf.math.log(p_t), axis=-1)

        assert count_kept(by_autodiff) > 3


def count_kept(loss):
    """How many float tensors of the logits' size the forward pass leaves for the backward pass.

    Read off the graph: outputs of operations made before the gradient was asked for, the logits
    among them, that feed operations made after.
    """
    shape = (2, 50, 7)

    @tf.function(input_signature=[tf.TensorSpec(shape[:2], tf.int32), tf.TensorSpec(shape)])
    def step(targets, logits):
        graph = tf.compat.v1.get_default_graph()
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(targets, logits)
        forward.update(op.name for op in graph.get_operations())
        return tape.gradient(value, logits)

    forward = set()
    operations = step.get_concrete_function().graph.get_operations()
    backward = [op for op in operations if op.name not in forward]
    assert backward
    return len(
        {
            tensor.name
            for op in backward
            for tensor in op.inputs
            if tensor.op.name in forward and tensor.dtype.is_floating and tensor.shape == shape
        }
    )
