"""How long a training waits for its batches."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class WaitTime:
    """Seconds that the consumer of a `tf.data.Dataset` waited for elements.

    Only where the consumer asks for an element when it needs it, as a training on one device does:
    tf.distribute fetches batches in advance, so that the waiting is another thread's.
    """

    def __init__(self) -> None:
        self._seconds = 0.0

    def measured(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Return the same elements, with the time added up that each was waited for."""
        # Zipped datasets are asked one after the other.
        stamps = tf.data.Dataset.counter().map(lambda _: tf.timestamp())
        timed = tf.data.Dataset.zip(stamps, dataset).map(self._add())
        options = tf.data.Options()
        # Otherwise tf.data itself may fetch in advance, behind the stamps.
        options.experimental_optimization.inject_prefetch = False
        return timed.with_options(options)

    def _add(self) -> Callable[..., Any]:
        def add(seconds: Any) -> Any:
            self._seconds += float(seconds)
            return seconds

        def stop(begin: tf.Tensor, *element: Any) -> Any:
            element = element[0] if len(element) == 1 else element
            with tf.control_dependencies(tf.nest.flatten(element)):
                seconds = tf.timestamp() - begin
            added = tf.numpy_function(add, [seconds], tf.float64, stateful=True)
            with tf.control_dependencies([added]):
                return tf.nest.map_structure(tf.identity, element)

        return stop

    def take(self) -> float:
        """Return the seconds since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
