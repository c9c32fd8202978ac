import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.boxes import BoxCoder
from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.losses import DetectionLoss, FocalLoss, SmoothL1
from keras_retinanet.optimizers import SGDWithL2

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


def value_and_gradient(loss, targets, logits, upstream=None):
    logits = tf.Variable(np.asarray(logits, np.float32))
    with tf.GradientTape() as tape:
        value = loss.call(tf.constant(targets), logits)
    upstream = None if upstream is None else tf.constant(upstream, tf.float32)
    return value.numpy(), tape.gradient(value, logits, upstream).numpy()


@pytest.fixture
def targets_and_logits(rng):
    """Of 2 images, 60 anchors, 5 classes; every kind of target, and a wide range of logits."""
    targets = rng.integers(IGNORE, 5, (2, 60)).astype(np.int32)
    return targets, rng.normal(0, 4, (2, 60, 5)).astype(np.float32)


class TestFocalLoss:
    @pytest.mark.parametrize("alpha", ALPHAS)
    @pytest.mark.parametrize("gamma", GAMMAS)
    def test_value_and_gradient_are_the_papers(self, gamma, alpha, targets_and_logits):
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
    def test_gradient_is_the_derivative_of_the_value(self, gamma, targets_and_logits):
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

    def test_gradient_follows_what_comes_from_above(self, rng, targets_and_logits):
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
    def test_extreme_logits_are_finite(self, target, logit, gamma):
        value, gradient = value_and_gradient(FocalLoss(gamma), [[target]], [[[logit]]])
        expected = focal_by_the_paper([[target]], [[[logit]]], gamma=gamma)
        np.testing.assert_allclose(value, expected[0], rtol=1e-6, atol=1e-20)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-6, atol=1e-20)

    @pytest.mark.parametrize("gamma", GAMMAS)
    @pytest.mark.parametrize("logit", [3.0, 1e4, -1e4])
    def test_ignored_anchors_have_neither_loss_nor_gradient(self, logit, gamma):
        targets = np.array([[IGNORE, 1, IGNORE, BACKGROUND]])
        logits = np.where((targets == IGNORE)[..., None], logit, 0.5) * np.ones(3)
        value, gradient = value_and_gradient(FocalLoss(gamma), targets, logits)
        np.testing.assert_array_equal(value[:, [0, 2]], 0)
        np.testing.assert_array_equal(gradient[:, [0, 2]], 0)
        assert (value[:, [1, 3]] > 0).all() and gradient[:, [1, 3]].all()

    def test_one_class(self):
        value, gradient = value_and_gradient(FocalLoss(), [[0, BACKGROUND]], [[[0.0], [0.0]]])
        np.testing.assert_allclose(value, [[0.0625 * math.log(2), 0.1875 * math.log(2)]], 1e-6)
        assert gradient[0, 0, 0] < 0 < gradient[0, 1, 0]

    def test_all_background(self, rng):
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
    def test_backward_pass_keeps_at_most_three_tensors_of_the_logits_size(self, gamma):
        assert count_kept(FocalLoss(gamma).call) <= 3

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


class TestSmoothL1:
    @staticmethod
    def closed_form(distance, beta):
        distance = np.abs(np.asarray(distance, np.float64))
        if beta == 0:
            return distance
        return np.where(distance < beta, distance**2 / (2 * beta), distance - beta / 2)

    @pytest.mark.parametrize("beta", [0.0, 1 / 9, 1.0, 3.0])
    def test_value_and_gradient(self, beta, rng):
        true, pred = rng.normal(size=(2, 2, 30, 4)).astype(np.float32)
        value, gradient = value_and_gradient(SmoothL1(beta), true, pred)
        difference = pred.astype(np.float64) - true
        expected = self.closed_form(difference, beta).sum(axis=-1)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        slope = np.sign(difference) if beta == 0 else np.clip(difference / beta, -1, 1)
        np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-6)

    def test_default_beta_is_one_ninth(self):
        value = SmoothL1().call(np.zeros((1, 4)), np.array([[1.0, -1.0, 1 / 18, 0]]))
        np.testing.assert_allclose(value, [2 * (1 - 1 / 18) + 1 / 72], rtol=1e-6)

    @pytest.mark.parametrize("beta", [0.0, 0.5])
    def test_equal_boxes_have_neither_loss_nor_gradient(self, beta):
        value, gradient = value_and_gradient(SmoothL1(beta), np.ones((3, 4), "f"), np.ones((3, 4)))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(gradient, 0)

    def test_negative_beta_is_refused(self):
        with pytest.raises(ValueError, match="beta must not be negative"):
            SmoothL1(beta=-1.0)


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (FocalLoss(1.5, None), {"gamma": 1.5, "alpha": None}),
        (FocalLoss(reduction=None, name="mine"), {"reduction": None, "name": "mine"}),
        (SmoothL1(0.3), {"beta": 0.3}),
        (DetectionLoss(box_weight=2.0, normalizer="per_image"), {"box_weight": 2.0}),
        (DetectionLoss(normalizer="per_image"), {"normalizer": "per_image"}),
    ],
)
def test_serialization_keeps_the_settings(loss, settings):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(copy) is type(loss) and copy.get_config() == loss.get_config()
    for name, value in settings.items():
        assert getattr(copy, name) == value


def test_serialization_keeps_the_parts_of_a_detection_loss():
    loss = DetectionLoss(FocalLoss(0.5, 0.75), SmoothL1(0.0))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (copy.class_loss.gamma, copy.class_loss.alpha, copy.box_loss.beta) == (0.5, 0.75, 0.0)


NUM_ANCHORS, NUM_CLASSES = 50, 4


@pytest.fixture
def anchors(rng, random_boxes):
    return random_boxes(rng, NUM_ANCHORS, 8.0, 40.0)


@pytest.fixture
def outputs(rng):
    """Of 4 images."""
    return {
        "class_logits": rng.normal(-2, 1, (4, NUM_ANCHORS, NUM_CLASSES)).astype(np.float32),
        "box_deltas": rng.normal(0, 0.5, (4, NUM_ANCHORS, 4)).astype(np.float32),
    }


@pytest.fixture
def targets(rng, random_boxes):
    """Of 4 images with 3, 1, 0 and 2 objects: the others have rows of padding."""
    counts = np.array([3, 1, 0, 2])
    gt_boxes = random_boxes(rng, 12, 8.0, 40.0).reshape(4, 3, 4)
    gt_labels = rng.integers(0, NUM_CLASSES, (4, 3)).astype(np.int32)
    is_padding = np.arange(3) >= counts[:, None]
    gt_boxes[is_padding], gt_labels[is_padding] = 0.0, -1
    matches = rng.integers(IGNORE, np.maximum(counts, 0)[:, None], (4, NUM_ANCHORS))
    return {"gt_boxes": gt_boxes, "gt_labels": gt_labels, "matches": matches.astype(np.int32)}


def losses_by_loops(targets, outputs, anchors, *, normalizer="global"):
    """Class and box loss in float64, anchor by anchor."""
    matches = targets["matches"]
    positives = (matches >= 0).sum(axis=1)
    totals = np.zeros(2)
    for i, j in np.ndindex(matches.shape):
        match = matches[i, j]
        label = targets["gt_labels"][i, match] if match >= 0 else match
        parts = [focal_by_the_paper(label, outputs["class_logits"][i, j])[0], 0.0]
        if match >= 0:
            (x1, y1, x2, y2), (ax1, ay1, ax2, ay2) = np.float64(
                [targets["gt_boxes"][i, match], anchors[j]]
            )
            w, h = ax2 - ax1, ay2 - ay1
            deltas = [(x1 + x2 - ax1 - ax2) / 2 / w, (y1 + y2 - ay1 - ay2) / 2 / h]
            deltas += [math.log((x2 - x1) / w), math.log((y2 - y1) / h)]
            distance = outputs["box_deltas"][i, j] - deltas
            parts[1] = TestSmoothL1.closed_form(distance, 1 / 9).sum()
        each = max(positives[i], 1) * len(matches)
        totals += np.array(parts) / (each if normalizer == "per_image" else positives.sum())
    return dict(zip(("class_loss", "box_loss"), totals))


class TestDetectionLoss:
    @pytest.mark.parametrize("normalizer", ["global", "per_image"])
    def test_equals_loops(self, normalizer, targets, outputs, anchors):
        loss = DetectionLoss(normalizer=normalizer)
        parts = loss(targets, outputs, anchors=anchors, box_coder=BoxCoder())
        expected = losses_by_loops(targets, outputs, anchors, normalizer=normalizer)
        assert parts.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(parts[name], value, rtol=1e-5)

    def test_normalizers_by_hand(self, anchors):
        """Two images with 1 and 9 positives, each anchor's class loss 1: 10 + 10 over ..."""

        class One(keras.losses.Loss):
            def call(self, y_true, y_pred):
                return keras.ops.ones(y_true.shape)

        matches = np.full((2, 10), BACKGROUND)
        matches[0, 0] = matches[1, :9] = 0
        targets = {"gt_boxes": np.ones((2, 1, 4), "f"), "gt_labels": [[0], [1]]}
        targets["gt_boxes"][..., 2:] = 5
        outputs = {
            "class_logits": np.zeros((2, 10, 3), "f"),
            "box_deltas": np.zeros((2, 10, 4), "f"),
        }
        for normalizer, expected in (("global", 20 / 10), ("per_image", (10 / 1 + 10 / 9) / 2)):
            loss = DetectionLoss(class_loss=One(), normalizer=normalizer)
            parts = loss(
                {**targets, "matches": matches}, outputs, anchors=anchors[:10], box_coder=BoxCoder()
            )
            np.testing.assert_allclose(parts["class_loss"], expected, rtol=1e-6)

    def test_box_weight(self, targets, outputs, anchors):
        once, thrice = (
            DetectionLoss(box_weight=w)(targets, outputs, anchors=anchors, box_coder=BoxCoder())
            for w in (1.0, 3.0)
        )
        np.testing.assert_allclose(3 * once["box_loss"], thrice["box_loss"], rtol=1e-6)
        np.testing.assert_array_equal(once["class_loss"], thrice["class_loss"])

    def test_box_targets_follow_the_box_coder(self, targets, outputs, anchors):
        coder = BoxCoder(coding="corner", variances=(0.2,) * 4)
        matched = np.take_along_axis(
            targets["gt_boxes"], np.maximum(targets["matches"], 0)[..., None], axis=1
        )
        perfect = {**outputs, "box_deltas": coder.encode(matched, anchors)}
        loss = DetectionLoss()
        same = loss(targets, perfect, anchors=anchors, box_coder=coder)["box_loss"]
        other = loss(targets, perfect, anchors=anchors, box_coder=BoxCoder())["box_loss"]
        np.testing.assert_allclose(same, 0, atol=1e-6)
        assert other > 1

    @pytest.mark.parametrize("normalizer", ["global", "per_image"])
    @pytest.mark.parametrize("value", [BACKGROUND, IGNORE])
    def test_batch_without_objects_is_finite(self, value, normalizer, outputs, anchors):
        targets = {
            "gt_boxes": np.zeros((4, 1, 4), "f"),
            "gt_labels": np.full((4, 1), -1),
            "matches": np.full((4, NUM_ANCHORS), value),
        }
        deltas = tf.Variable(outputs["box_deltas"])
        logits = tf.Variable(outputs["class_logits"])
        with tf.GradientTape() as tape:
            parts = DetectionLoss(normalizer=normalizer)(
                targets,
                {"class_logits": logits, "box_deltas": deltas},
                anchors=anchors,
                box_coder=BoxCoder(),
            )
            total = parts["class_loss"] + parts["box_loss"]
        gradients = tape.gradient(total, [logits, deltas])
        assert parts["box_loss"] == 0 and not np.any(gradients[1])
        assert np.isfinite(parts["class_loss"]) and np.isfinite(gradients[0]).all()
        assert (parts["class_loss"] > 0) == (value == BACKGROUND) == np.any(gradients[0])

    def test_rows_of_padding_change_nothing(self, targets, outputs, anchors):
        padded = {
            "gt_boxes": np.pad(targets["gt_boxes"], ((0, 0), (0, 5), (0, 0))),
            "gt_labels": np.pad(targets["gt_labels"], ((0, 0), (0, 5)), constant_values=-1),
            "matches": targets["matches"],
        }
        a, b = (
            DetectionLoss()(t, outputs, anchors=anchors, box_coder=BoxCoder())
            for t in (targets, padded)
        )
        assert a["class_loss"] == b["class_loss"] and a["box_loss"] == b["box_loss"]

    def test_only_positive_anchors_have_a_box_gradient(self, targets, outputs, anchors):
        deltas = tf.Variable(outputs["box_deltas"])
        with tf.GradientTape() as tape:
            loss = DetectionLoss()(
                targets,
                {**outputs, "box_deltas": deltas},
                anchors=anchors,
                box_coder=BoxCoder(),
            )["box_loss"]
        has_gradient = np.any(tape.gradient(loss, deltas), axis=-1)
        np.testing.assert_array_equal(has_gradient, targets["matches"] >= 0)

    def test_a_perfect_prediction_costs_next_to_nothing(self, targets, anchors):
        matches = np.maximum(targets["matches"], BACKGROUND)
        labels = np.take_along_axis(targets["gt_labels"], np.maximum(matches, 0), axis=1)
        is_target = (labels[..., None] == np.arange(NUM_CLASSES)) & (matches >= 0)[..., None]
        matched = np.take_along_axis(targets["gt_boxes"], np.maximum(matches, 0)[..., None], axis=1)
        outputs = {
            "class_logits": np.where(is_target, 20.0, -20.0).astype("f"),
            "box_deltas": BoxCoder().encode(matched, anchors),
        }
        parts = DetectionLoss()(
            {**targets, "matches": matches}, outputs, anchors=anchors, box_coder=BoxCoder()
        )
        assert parts["class_loss"] < 1e-6 and parts["box_loss"] < 1e-6

    def test_unknown_normalizer_is_refused(self):
        with pytest.raises(ValueError, match=r"normalizer must be one of.*'batch'"):
            DetectionLoss(normalizer="batch")

    @pytest.mark.parametrize("normalizer", ["global", "per_image"])
    def test_shares_of_two_replicas_add_up(
        self, normalizer, targets, outputs, anchors, two_replicas
    ):
        loss = DetectionLoss(normalizer=normalizer)

        def replica(part):
            index = tf.range(2) + 2 * part
            t, o = (
                {name: tf.gather(values, index) for name, values in whole.items()}
                for whole in (targets, outputs)
            )
            return loss(t, o, anchors=anchors, box_coder=BoxCoder())

        parts = two_replicas.experimental_distribute_values_from_function(
            lambda context: tf.constant(context.replica_id_in_sync_group)
        )
        shares = two_replicas.run(replica, args=(parts,))
        expected = losses_by_loops(targets, outputs, anchors, normalizer=normalizer)
        for name, value in expected.items():
            total = two_replicas.reduce("SUM", shares[name], axis=None)
            np.testing.assert_allclose(total, value, rtol=1e-5)


class TestFit:
    """Batches of 8 on one replica, and of 4 + 4 on two."""

    COUNTS = (1, 5, 0, 2, 3, 0, 0, 1)  # 8 objects on the first replica, 4 on the second

    def fit(self, make_tiny, make_batch, strategy):
        with strategy.scope():
            # Frozen: batch statistics would be those of each replica's half.
            model = make_tiny(batchnorm="frozen")
            model.compile(SGDWithL2(0.01, momentum=0.9, l2=1e-4), loss=DetectionLoss())
        before = model.get_weights()
        data = tf.data.Dataset.from_tensor_slices(make_batch(model, self.COUNTS)).batch(8)
        history = model.fit(data, epochs=3, verbose=0, shuffle=False).history
        return history, before, model.get_weights()

    @pytest.fixture(scope="class")
    def runs(self, make_tiny, make_batch, two_replicas):
        strategies = tf.distribute.get_strategy(), two_replicas
        return [self.fit(make_tiny, make_batch, strategy) for strategy in strategies]

    def test_both_start_from_the_same_weights(self, runs):
        for one, two in zip(runs[0][1], runs[1][1]):
            np.testing.assert_array_equal(one, two)

    def test_losses_agree(self, runs):
        one, two = runs[0][0], runs[1][0]
        assert one.keys() == two.keys() == {"loss", "class_loss", "box_loss"}
        for name in one:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-5)
        np.testing.assert_allclose(np.add(one["class_loss"], one["box_loss"]), one["loss"], 1e-5)

    def test_loss_falls(self, runs):
        for history, _, _ in runs:
            assert (np.diff(history["loss"]) < 0).all()

    def test_updates_agree(self, runs):
        largest = 0.0
        for before, one, two in zip(runs[0][1], runs[0][2], runs[1][2]):
            np.testing.assert_allclose(two, one, atol=1e-5)
            largest = max(largest, abs(one - before).max())
        assert largest > 1e-3, "nothing was trained"
