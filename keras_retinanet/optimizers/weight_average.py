"""The moving average of the weights (EMA): how it moves, and using it in the weights' place."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from keras_retinanet.system.private_names import MovesAverages, moving_averages


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Inside, the model's trainable weights are their moving averages; after it, what they were.

    For evaluation and saving in the midst of a training; the weights come back bit for bit. Nothing
    changes for a model without a moving average, or one that has made no step yet. BatchNorm's
    statistics are no trainable weights, and stay what they are.
    """
    averages = _averages(model)
    before = [ops.convert_to_numpy(variable) for variable, _ in averages]
    try:
        _assign(averages)
        yield
    finally:
        for (variable, _), value in zip(averages, before):
            variable.assign(value)


def keep_averaged_weights(model: keras.Model) -> None:
    """Put the moving averages in the place of the weights for good, as at a training's end."""
    _assign(_averages(model))


class WeightAverage(MovesAverages):
    """For optimizers with `use_ema`: an average that soon forgets how the weights began.

    The decay of step t is at most (1 + t) / (10 + t), as in `tf.train.ExponentialMovingAverage`
    with `num_updates`: with Keras' constant decay of 0.9998 the average of a run of 5,000 steps
    would still be for a third what the weights were after the first.
    """

    def move_averages(self, averages: Sequence[tuple[Any, Any]]) -> None:
        step = ops.cast(self.iterations, "float32")  # of the steps before this one
        decay = ops.minimum(self.ema_momentum, (1.0 + step) / (10.0 + step))
        decay = ops.where(step > 0, decay, 0.0)
        for variable, average in averages:
            share = ops.cast(decay, variable.dtype)
            average.assign(share * average + (1 - share) * variable)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Leave the weights alone: Keras, at the end of `fit`, puts the averages in their place.

        A second `fit` would then go on from other weights than a longer first one.
        """


def _averages(model: keras.Model) -> list[tuple[Any, Any]]:
    """Return pairs of trainable variables and their averages, where there are averages yet."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
    if optimizer is None or not optimizer.use_ema or not optimizer.built:
        return []
    if ops.convert_to_numpy(optimizer.iterations) == 0:  # the averages are still zeros
        return []
    return moving_averages(optimizer)


def _assign(averages: list[tuple[Any, Any]]) -> None:
    for variable, average in averages:
        variable.assign(ops.convert_to_numpy(average))
