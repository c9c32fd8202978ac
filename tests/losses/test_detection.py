import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.geometry.boxes import BoxCoder, box_area
from keras_retinanet.losses import (
    OHEM,
    AnchorLoss,
    BalancedCrossEntropy,
    CIoULoss,
    DetectionLoss,
    DIoULoss,
    FocalLoss,
    FocalLossStar,
    GIoULoss,
    HingeLoss,
    OHEM1To3,
    QualityFocalLoss,
    SmoothL1,
    SoftmaxFocalLoss,
    VarifocalLoss,
)
from keras_retinanet.optimizers.weight_decay import SGDWithL2

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (FocalLoss(1.5, None), {"gamma": 1.5, "alpha": None}),
        (FocalLoss(reduction=None, name="mine"), {"reduction": None, "name": "mine"}),
        (SmoothL1(0.3), {"beta": 0.3}),
        (GIoULoss(reduction=None), {"reduction": None}),
        (DIoULoss(reduction=None), {"reduction": None}),
        (CIoULoss(name="mine"), {"name": "mine"}),
        (BalancedCrossEntropy(0.75), {"alpha": 0.75}),
        (FocalLossStar(4.0, 0.5, None), {"gamma": 4.0, "beta": 0.5, "alpha": None}),
        (HingeLoss(0.7, 0.1), {"threshold": 0.7, "alpha": 0.1}),
        (SoftmaxFocalLoss(1.0, 0.4), {"gamma": 1.0, "alpha": 0.4}),
        (QualityFocalLoss(1.5), {"beta": 1.5}),
        (VarifocalLoss(0.5, 1.0), {"alpha": 0.5, "gamma": 1.0}),
        (OHEM(64, 0.7), {"batch_size": 64, "nms_iou_threshold": 0.7}),
        (OHEM1To3(32, 0.3), {"batch_size": 32, "nms_iou_threshold": 0.3}),
        (
            DetectionLoss(normalizer="moving_average", momentum=0.8, start=50.0),
            {"momentum": 0.8, "start": 50.0, "normalizer": "moving_average"},
        ),
        (DetectionLoss(box_weight=2.0, normalizer="per_image"), {"box_weight": 2.0}),
        (DetectionLoss(normalizer="per_image"), {"normalizer": "per_image"}),
        (DetectionLoss(box_quality_weight=0.5), {"box_quality_weight": 0.5}),
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


def focal_in_float64(target, logits):
    """Eq. 5 with gamma 2 and alpha 0.25, class by class."""
    total = 0.0
    for k, x in enumerate(np.float64(logits)):
        p_t, alpha_t = (
            (1 / (1 + math.exp(-x)), 0.25) if k == target else (1 / (1 + math.exp(x)), 0.75)
        )
        total -= 0.0 if target == IGNORE else alpha_t * (1 - p_t) ** 2 * math.log(p_t)
    return total


def smooth_l1_in_float64(distances, beta=1 / 9):
    distances = np.abs(distances)
    return np.where(distances < beta, distances**2 / beta / 2, distances - beta / 2).sum()


def losses_by_loops(targets, outputs, anchors, *, normalizer="global"):
    """Class and box loss in float64, anchor by anchor."""
    matches = targets["matches"]
    positives = (matches >= 0).sum(axis=1)
    totals = np.zeros(2)
    for i, j in np.ndindex(matches.shape):
        match = matches[i, j]
        label = targets["gt_labels"][i, match] if match >= 0 else match
        parts = [focal_in_float64(label, outputs["class_logits"][i, j]), 0.0]
        if match >= 0:
            (x1, y1, x2, y2), (ax1, ay1, ax2, ay2) = np.float64(
                [targets["gt_boxes"][i, match], anchors[j]]
            )
            w, h = ax2 - ax1, ay2 - ay1
            deltas = [(x1 + x2 - ax1 - ax2) / 2 / w, (y1 + y2 - ay1 - ay2) / 2 / h]
            deltas += [math.log((x2 - x1) / w), math.log((y2 - y1) / h)]
            distance = outputs["box_deltas"][i, j] - deltas
            parts[1] = smooth_l1_in_float64(distance)
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

    def test_keras_own_losses_will_do_as_box_losses(self, targets, outputs, anchors):
        """Huber is the mean over the coordinates, smooth L1 of the same delta 4 / delta of it."""
        ours, theirs = (
            DetectionLoss(box_loss=loss)(targets, outputs, anchors=anchors, box_coder=BoxCoder())
            for loss in (SmoothL1(beta=0.5), keras.losses.Huber(delta=0.5))
        )
        np.testing.assert_allclose(ours["box_loss"], theirs["box_loss"] * 4 / 0.5, rtol=1e-5)

    @pytest.mark.parametrize("name", ["class_loss", "box_loss"])
    def test_what_is_no_loss_is_refused(self, name):
        with pytest.raises(ValueError, match=rf"^{name} must be a keras\.losses\.Loss, got str$"):
            DetectionLoss(**{name: "focal"})

    def test_flags_of_a_loss_of_ones_own_are_obeyed(self, targets, outputs, anchors):
        class Area(AnchorLoss):
            """The mean area of the boxes that it is given."""

            needs_boxes = True
            is_normalized = True

            def __init__(self):
                super().__init__(reduction="sum", name="area")

            def call(self, y_true, y_pred):
                boxes = y_pred["boxes"]
                assert y_pred["class_logits"].shape[:2] == boxes.shape[:2] == y_true.shape
                return box_area(boxes) / len(y_true)

        found = DetectionLoss(class_loss=Area())(
            targets, outputs, anchors=anchors, box_coder=BoxCoder()
        )
        boxes = BoxCoder().decode(outputs["box_deltas"], anchors)
        expected = np.sum(box_area(boxes)) / len(targets["matches"])
        np.testing.assert_allclose(found["class_loss"], expected, rtol=1e-5)

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


ALL_CLASS_LOSSES = [
    BalancedCrossEntropy(),
    BalancedCrossEntropy(0.75),
    FocalLoss(),
    FocalLossStar(),
    HingeLoss(),
    SoftmaxFocalLoss(),
    QualityFocalLoss(),
    VarifocalLoss(),
    OHEM(batch_size=12),
    OHEM1To3(batch_size=12),
]


@pytest.mark.parametrize(
    ("class_loss", "box_loss"),
    [
        *((loss, SmoothL1()) for loss in ALL_CLASS_LOSSES),
        (FocalLoss(), GIoULoss()),
        (FocalLoss(), CIoULoss()),
    ],
    ids=lambda loss: loss.name,
)
def test_two_replicas_have_the_loss_and_the_gradient_of_one(
    class_loss, box_loss, targets, outputs, anchors, two_replicas
):
    loss = DetectionLoss(class_loss, box_loss)

    def parts_and_gradients(targets, outputs):
        logits, deltas = outputs["class_logits"], outputs["box_deltas"]
        with tf.GradientTape() as tape:
            tape.watch([logits, deltas])
            parts = loss(
                targets,
                {"class_logits": logits, "box_deltas": deltas},
                anchors=anchors,
                box_coder=BoxCoder(),
            )
            total = parts["class_loss"] + parts["box_loss"]
        return parts, tape.gradient(total, [logits, deltas])

    whole = [{k: tf.constant(v) for k, v in part.items()} for part in (targets, outputs)]
    expected_parts, expected = tf.function(parts_and_gradients)(*whole)
    assert np.any(expected[0]) and np.any(expected[1])

    def replica(half):
        index = tf.range(2) + 2 * half
        return parts_and_gradients(
            *({name: tf.gather(x, index) for name, x in part.items()} for part in whole)
        )

    halves = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(context.replica_id_in_sync_group)
    )
    parts, gradients = tf.function(lambda: two_replicas.run(replica, args=(halves,)))()
    for name, value in expected_parts.items():
        total = two_replicas.reduce("SUM", parts[name], axis=None)
        np.testing.assert_allclose(total, value, rtol=1e-5)
    for gradient, value in zip(gradients, expected):
        together = tf.concat(two_replicas.experimental_local_results(gradient), axis=0)
        np.testing.assert_allclose(together, value, rtol=1e-5, atol=1e-8)


class TestMovingAverage:
    def value(self, loss, targets, outputs, anchors, **options):
        parts = loss(targets, outputs, anchors=anchors, box_coder=BoxCoder(), **options)
        return float(parts["class_loss"])

    def test_divides_by_the_average_of_the_batches(self, targets, outputs, anchors):
        positives = (targets["matches"] >= 0).sum()
        total = losses_by_loops(targets, outputs, anchors)["class_loss"] * positives
        loss = DetectionLoss(normalizer="moving_average", momentum=0.9, start=100.0)
        average = 100.0
        for _ in range(4):
            average = 0.9 * average + 0.1 * positives
            value = self.value(loss, targets, outputs, anchors)
            np.testing.assert_allclose(value, total / average, rtol=1e-5)

    def test_stands_still_outside_of_training(self, targets, outputs, anchors):
        loss = DetectionLoss(normalizer="moving_average")
        values = [
            self.value(loss, targets, outputs, anchors, training=False),
            self.value(loss, targets, outputs, anchors, training=False),
            self.value(loss, targets, outputs, anchors),
        ]
        assert values[0] == values[1] < values[2], "fewer than 100 positives: the average falls"

    def test_outlives_the_epochs_of_fit(self, make_tiny, make_batch, two_replicas):
        with two_replicas.scope():
            model = make_tiny(batchnorm="frozen", channels=8)
            model.compile(SGDWithL2(0.01), loss=DetectionLoss(normalizer="moving_average"))
        images, targets = make_batch(model, (1, 5, 2, 0))
        positives = (targets["matches"] >= 0).sum()
        data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(4)
        history = model.fit(data, epochs=3, verbose=0, shuffle=False).history
        expected = positives + (100 - positives) * 0.9 ** np.arange(1, 4)
        np.testing.assert_allclose(history["average_positives"], expected, rtol=1e-5)


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
