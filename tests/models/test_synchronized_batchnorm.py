"""Synchronised BatchNorm: two replicas train as one device does on the whole batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.losses import DetectionLoss
from keras_retinanet.optimizers.weight_decay import SGDWithL2

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_resnet18")]


@pytest.fixture(scope="module")
def steps(make_tiny, make_batch, two_replicas, small_resnet18):
    """After one step: the loss, and all weights and steps of them, by strategy and BatchNorm."""

    def step(strategy, batchnorm):
        keras.backend.clear_session()
        with strategy.scope():
            model = make_tiny(channels=8, head_depth=1, batchnorm=batchnorm)
            model.compile(SGDWithL2(1.0), loss=DetectionLoss())
        images, targets = make_batch(model, (3, 1, 2, 0))
        images[:2] //= 4  # the two halves have other statistics
        before = {v.path: v.numpy() for v in model.weights}
        batches = tf.data.Dataset.from_tensors((images, targets))
        history = model.fit(batches, epochs=1, verbose=0)
        changes = {v.path: v.numpy() - before[v.path] for v in model.weights}
        return history.history["loss"][0], changes

    one = tf.distribute.get_strategy()
    return {
        "one": step(one, "trainable"),
        "two": step(two_replicas, "synchronized"),
        "not synchronized": step(two_replicas, "trainable"),
    }


def test_loss(steps):
    np.testing.assert_allclose(steps["two"][0], steps["one"][0], rtol=1e-5)
    assert abs(steps["not synchronized"][0] / steps["one"][0] - 1) > 1e-4


def test_gradients_and_moving_statistics(steps):
    """With a rate of 1 a step is the gradient."""
    expected, found = steps["one"][1], steps["two"][1]
    assert found.keys() == expected.keys()
    for path, change in found.items():
        scale = np.abs(expected[path]).max()
        np.testing.assert_allclose(
            change, expected[path], rtol=0, atol=2e-3 * scale + 1e-7, err_msg=path
        )
    others = steps["not synchronized"][1]
    path = "conv2_block1_1_bn/moving_variance"
    assert np.abs(others[path] - expected[path]).max() > 0.01 * np.abs(expected[path]).max()
