"""Steps in parts equal steps on the whole batch, with one replica and with two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.losses import CIoULoss, DetectionLoss, VarifocalLoss
from keras_retinanet.losses.task_aligned import TaskAlignedDetectionLoss, TaskAlignedMatching
from keras_retinanet.optimizers.weight_decay import SGDWithL2
from keras_retinanet.training.step import accumulate_gradients

pytestmark = pytest.mark.usefixtures("small_resnet18")

# Uneven: the parts and the replicas have other counts of positives than the batch's mean.
COUNTS = (1, 5, 0, 2, 3, 0, 0, 1)
STEPS = 3


def trained(
    make_tiny,
    make_batch,
    strategy,
    parts,
    *,
    dtype="float32",
    kind=DetectionLoss,
    box_quality="none",
    **loss,
):
    """Fit some steps on one batch of 8; history, and the weights before and after."""
    with strategy.scope():
        model = make_tiny(batchnorm="frozen", channels=8, dtype=dtype, box_quality=box_quality)
        optimizer = SGDWithL2(0.01, momentum=0.9, l2=1e-4, global_clipnorm=1.0)
        model.compile(optimizer, loss=kind(**loss))
    if parts > 1:
        accumulate_gradients(model, parts)
    before = model.get_weights()
    data = tf.data.Dataset.from_tensor_slices(make_batch(model, COUNTS)).batch(8)
    history = model.fit(data, epochs=STEPS, verbose=0, shuffle=False).history
    return history, before, model.get_weights(), np.array(model.optimizer.iterations)


@pytest.fixture(scope="module")
def whole(make_tiny, make_batch):
    return trained(make_tiny, make_batch, tf.distribute.get_strategy(), 1)


@pytest.mark.parametrize(
    ("replicas", "parts"),
    [
        pytest.param(1, 4, marks=pytest.mark.slow),
        pytest.param(2, 1, marks=pytest.mark.slow),
        (2, 2),
    ],
)
def test_parts_and_replicas_equal_the_whole_batch(
    whole, make_tiny, make_batch, two_replicas, replicas, parts
):
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    found = trained(make_tiny, make_batch, strategy, parts)
    assert whole[3] == found[3] == STEPS, "one update for a batch, however many parts"
    assert whole[0].keys() == found[0].keys()
    for name, values in whole[0].items():
        np.testing.assert_allclose(found[0][name], values, rtol=1e-4, err_msg=name)
    moved = 0.0
    for before, one, other in zip(whole[1], whole[2], found[2], strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)
        moved = max(moved, float(abs(one - before).max()))
    assert moved > 1e-3, "nothing was trained"


def test_losses_that_need_boxes_in_parts_and_on_replicas(make_tiny, make_batch, two_replicas):
    losses = {"class_loss": VarifocalLoss(), "box_loss": CIoULoss()}
    one = trained(make_tiny, make_batch, tf.distribute.get_strategy(), 1, **losses)
    other = trained(make_tiny, make_batch, two_replicas, 2, **losses)
    for name, values in one[0].items():
        np.testing.assert_allclose(other[0][name], values, rtol=1e-4, err_msg=name)
    # The loss itself may rise: its target grows with the boxes' fit.
    moved = 0.0
    for before, whole_batch, in_parts in zip(one[1], one[2], other[2], strict=True):
        np.testing.assert_allclose(in_parts, whole_batch, rtol=1e-4, atol=1e-6)
        moved = max(moved, float(abs(whole_batch - before).max()))
    assert moved > 1e-3, "nothing was trained"


@pytest.mark.parametrize("box_quality", ["iou", "centerness"])
def test_box_quality_in_parts_and_on_replicas(make_tiny, make_batch, two_replicas, box_quality):
    options = {"box_quality": box_quality, "box_loss": CIoULoss()}
    one = trained(make_tiny, make_batch, tf.distribute.get_strategy(), 1, **options)
    other = trained(make_tiny, make_batch, two_replicas, 2, **options)
    assert "box_quality_loss" in one[0] and min(one[0]["box_quality_loss"]) > 0.1
    for name, values in one[0].items():
        np.testing.assert_allclose(other[0][name], values, rtol=1e-4, err_msg=name)
    for whole_batch, in_parts in zip(one[2], other[2], strict=True):
        np.testing.assert_allclose(in_parts, whole_batch, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batchnorm", ["frozen", "trainable"])
def test_matching_by_outputs_leaves_nothing_behind(make_tiny, make_batch, batchnorm):
    """The positives of the whole batch are counted by a pass of its own, which trains nothing."""
    model = make_tiny(batchnorm=batchnorm, channels=8)
    matching = TaskAlignedMatching(force_match=True)
    model.compile(SGDWithL2(0.0), loss=TaskAlignedDetectionLoss(matching=matching))
    accumulate_gradients(model, 2)
    other = make_tiny(batchnorm=batchnorm, channels=8)
    other.set_weights(model.get_weights())
    other.compile(SGDWithL2(0.0), loss=DetectionLoss())
    accumulate_gradients(other, 2)
    for each in (model, other):
        data = tf.data.Dataset.from_tensor_slices(make_batch(each, COUNTS)).batch(8)
        each.fit(data, verbose=0, shuffle=False)
    for one, two in zip(model.non_trainable_weights, other.non_trainable_weights, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6, err_msg=one.path)


def test_matching_by_outputs_in_parts_and_on_replicas(make_tiny, make_batch, two_replicas):
    options = {"kind": TaskAlignedDetectionLoss, "box_loss": CIoULoss()}
    options["matching"] = TaskAlignedMatching(force_match=True)
    options["box_quality"] = "iou"
    one = trained(make_tiny, make_batch, tf.distribute.get_strategy(), 1, **options)
    other = trained(make_tiny, make_batch, two_replicas, 2, **options)
    for name, values in one[0].items():
        np.testing.assert_allclose(other[0][name], values, rtol=1e-4, err_msg=name)
    assert max(one[0]["box_loss"]) > 0, "no anchor was matched"


@pytest.mark.slow
def test_moving_average_of_positives_moves_once_for_a_batch(make_tiny, make_batch):
    strategy = tf.distribute.get_strategy()
    histories = [
        trained(make_tiny, make_batch, strategy, parts, normalizer="moving_average")[0]
        for parts in (1, 2)
    ]
    assert "average_positives" in histories[0]
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-4, err_msg=name)


@pytest.mark.slow
def test_regularisers_count_once(make_tiny, make_batch):
    totals = []
    for parts in (1, 2):
        model = make_tiny(batchnorm="frozen", channels=8)
        layer = model.get_layer("class_head_conv_0")
        layer.kernel.regularizer = keras.regularizers.L2(1.0)
        model.compile(SGDWithL2(0.0), loss=DetectionLoss())
        accumulate_gradients(model, parts)
        data = tf.data.Dataset.from_tensor_slices(make_batch(model, COUNTS)).batch(8)
        history = model.fit(data, verbose=0, shuffle=False).history
        penalty = history["loss"][0] - history["class_loss"][0] - history["box_loss"][0]
        assert penalty == pytest.approx(float(tf.reduce_sum(layer.kernel**2)), rel=1e-3)
        totals.append(history["loss"][0])
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
