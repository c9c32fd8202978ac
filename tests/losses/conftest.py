"""Inputs for class losses, and what a loss gives for them."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import IGNORE


@pytest.fixture(scope="session")
def value_and_gradient():
    """loss, targets, logits, upstream gradient -> values and gradient in NumPy."""

    def run(loss, targets, logits, upstream=None):
        logits = tf.constant(logits, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss.call(tf.constant(targets), logits)
        upstream = None if upstream is None else tf.constant(upstream, tf.float32)
        return value.numpy(), tape.gradient(value, logits, upstream).numpy()

    return run


@pytest.fixture
def targets_and_logits(rng):
    """Of 2 images, 60 anchors, 5 classes; every kind of target, and a wide range of logits."""
    targets = rng.integers(IGNORE, 5, (2, 60)).astype(np.int32)
    return targets, rng.normal(0, 4, (2, 60, 5)).astype(np.float32)
