"""One replica or several: what a loss and an optimizer have to know of distribution, on any Keras
backend."""

from typing import Any

import keras


def sum_over_replicas(value: Any) -> Any:
    """Return `value` summed over the replicas of the running step, and unchanged outside of one.

    Only TensorFlow runs a step once per replica; on JAX a step sees the global batch.

    Args:
        value: a tensor, or a list of tensors and None, which are summed together.
    """
    if num_replicas() == 1:
        return value
    if not isinstance(value, list):
        return _replica_context().all_reduce("SUM", value)
    # None has nothing to sum: a variable that the loss does not depend on.
    summed = iter(_replica_context().all_reduce("SUM", [v for v in value if v is not None]))
    return [None if v is None else next(summed) for v in value]


def gather_from_replicas(values: Any) -> Any:
    """Return `values` [n, ...] of all replicas, one after the other [replicas * n, ...]."""
    if num_replicas() == 1:
        return values
    return _replica_context().all_gather(values, axis=0)


def num_replicas() -> int:
    """Return how many replicas run the current step."""
    context = _replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def agree_on_statistics(model: keras.Model) -> None:
    """Give all replicas the mean of their BatchNorm statistics, which is what a saved model has.

    Each replica moves its own while it trains, unless BatchNorm is synchronised.
    """
    for variable in model.non_trainable_variables:
        variable.assign(keras.ops.convert_to_numpy(variable))


def _replica_context() -> Any:
    """Return TensorFlow's replica context, or None on other backends and in cross-replica code."""
    if keras.backend.backend() != "tensorflow":
        return None
    # Imported here: modules that use this one stay free of TensorFlow on the other backends.
    import tensorflow as tf

    return tf.distribute.get_replica_context()
