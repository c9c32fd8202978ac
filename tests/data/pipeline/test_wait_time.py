import time

import numpy as np
import tensorflow as tf

from keras_retinanet.data.pipeline.wait_time import WaitTime


def slow(seconds):
    def produce(i):
        time.sleep(seconds)
        return i

    return tf.data.Dataset.range(5).map(lambda i: tf.numpy_function(produce, [i], tf.int64))


def test_elements_and_structure_stay():
    dataset = tf.data.Dataset.from_tensor_slices((np.arange(6), {"a": np.arange(6.0)})).batch(4)
    timed = WaitTime().measured(dataset)
    assert timed.element_spec == dataset.element_spec
    for (x, y), (expected_x, expected_y) in zip(timed, dataset, strict=True):
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y["a"], expected_y["a"])


def test_waiting_is_what_the_consumer_waits():
    wait = WaitTime()
    timed = iter(wait.measured(slow(0.05)))
    next(timed)
    assert 0.05 <= wait.take() < 0.5
    time.sleep(0.2)  # the consumer's own time is none of it
    next(timed)
    assert 0.05 <= wait.take() < 0.19
    assert wait.take() == 0


def test_what_was_fetched_in_advance_is_not_waited_for():
    wait = WaitTime()
    timed = iter(wait.measured(slow(0.05).prefetch(5)))
    next(timed)
    time.sleep(0.6)
    wait.take()
    for _ in range(4):
        next(timed)
    assert wait.take() < 0.05
