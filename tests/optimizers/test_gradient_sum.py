"""Clipping and loss scaling of two replicas' gradients against plain arithmetic."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.optimizers.gradient_sum import LossScaling
from keras_retinanet.optimizers.weight_decay import KernelAdamW, SGDWithL2

START = [1.0, 2.0]


def apply_on_two(strategy, make, gradients, steps=1):
    """Apply each replica's row of `gradients` [2, 2]; the optimizer, and the variable's value."""
    with strategy.scope():
        variable = keras.Variable(START)
        optimizer = make()
        optimizer.build([variable])
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(gradients[context.replica_id_in_sync_group], tf.float32)
    )

    @tf.function
    def step():
        strategy.run(lambda gradient: optimizer.apply([gradient], [variable]), args=(values,))

    for _ in range(steps):
        step()
    return optimizer, np.array(variable)


@pytest.mark.parametrize("make", [SGDWithL2, KernelAdamW])
def test_the_sum_is_clipped_and_not_the_parts(two_replicas, make):
    gradients = np.array([[3.0, 0.0], [0.0, 4.0]])  # the sum has the norm 5
    _, found = apply_on_two(two_replicas, lambda: make(0.1, global_clipnorm=1.0), gradients)
    alone, variable = make(0.1), keras.Variable(START)
    alone.apply([tf.constant([0.6, 0.8])], [variable])
    np.testing.assert_allclose(found, np.array(variable), rtol=1e-6)
    if make is SGDWithL2:
        np.testing.assert_allclose(found, [1 - 0.06, 2 - 0.08], rtol=1e-6)


def test_opposite_gradients_are_not_clipped(two_replicas):
    gradients = np.array([[1000.5, 0.0], [-1000.0, 0.0]])
    _, found = apply_on_two(two_replicas, lambda: SGDWithL2(1.0, global_clipnorm=1.0), gradients)
    np.testing.assert_allclose(found, [0.5, 2.0], rtol=1e-6)


class TestLossScaling:
    def scaled(self, **options):
        return LossScaling(SGDWithL2(0.1, global_clipnorm=1.0), initial_scale=8.0, **options)

    def test_unscales_the_sum_and_clips_it(self, two_replicas):
        gradients = 8.0 * np.array([[3.0, 0.0], [0.0, 4.0]])
        optimizer, found = apply_on_two(two_replicas, self.scaled, gradients)
        np.testing.assert_allclose(found, [1 - 0.06, 2 - 0.08], rtol=1e-6)
        assert np.array(optimizer.iterations) == 1 and np.array(optimizer.dynamic_scale) == 8

    @pytest.mark.parametrize("replica", [0, 1])
    def test_one_replica_s_overflow_skips_the_update_of_all(self, two_replicas, replica):
        gradients = np.ones((2, 2))
        gradients[replica, 0] = np.inf
        optimizer, found = apply_on_two(two_replicas, self.scaled, gradients)
        np.testing.assert_array_equal(found, START)
        assert np.array(optimizer.iterations) == 0 and np.array(optimizer.dynamic_scale) == 4

    def test_scale_grows(self, two_replicas):
        def make():
            return self.scaled(dynamic_growth_steps=2)

        optimizer, _ = apply_on_two(two_replicas, make, np.ones((2, 2)), steps=2)
        assert np.array(optimizer.dynamic_scale) == 16

    def test_refuses_an_optimizer_that_would_sum_again(self):
        with pytest.raises(TypeError, match="SGDWithL2"):
            LossScaling(keras.optimizers.SGD(0.1))

    def test_is_rebuilt_from_its_config(self):
        config = keras.saving.serialize_keras_object(self.scaled())
        again = keras.saving.deserialize_keras_object(config)
        assert isinstance(again, LossScaling) and isinstance(again.inner_optimizer, SGDWithL2)
        assert not again.inner_optimizer.sums_gradients
