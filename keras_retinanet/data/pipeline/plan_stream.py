"""A TrainingPlan as a tf.data.Dataset: computed epoch by epoch in this process, or as constants
that travel with the graph to the workers of a tf.data service."""

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.errors import ConfigError

# What `TrainingPlan.epoch` returns: type, and number of columns.
ARRAYS = {
    "index": (tf.int64, ()),
    "scaled_size": (tf.int32, (2,)),
    "canvas_size": (tf.int32, (2,)),
    "seed": (tf.int32, (2,)),
    "partners": (tf.int64, (4,)),
}
# A graph is a protocol buffer, which ends at 2 GB; half of it is left for the data set.
MAX_CONSTANT_BYTES = 2**30


def planned_images(
    plan: TrainingPlan,
    *,
    first_epoch: int = 0,
    first_step: int = 0,
    num_epochs: int | None = None,
    worker: int = 0,
    num_workers: int = 1,
) -> tf.data.Dataset:
    """Return the stream of the plan's images, one by one. Not serialisable.

    Args:
        first_step: of the first epoch; the batches before it are left out.
        num_epochs: the stream ends before this epoch; None: it does not end.
        worker: the stream has this worker's equal share of each batch.
    """
    share = plan.batch_size // num_workers
    own_images = slice(worker * share, (worker + 1) * share)

    def epoch(number: Tensor) -> tf.data.Dataset:
        def compute(number: np.ndarray) -> list[np.ndarray]:
            arrays = plan.epoch(int(number))
            start = first_step if number == first_epoch else 0
            return [
                arrays[name]
                .reshape(-1, plan.batch_size, *columns)[start:, own_images]
                .reshape(-1, *columns)
                for name, (_, columns) in ARRAYS.items()
            ]

        arrays = tf.numpy_function(compute, [number], [kind for kind, _ in ARRAYS.values()])
        for array, (_, columns) in zip(arrays, ARRAYS.values(), strict=True):
            array.set_shape((None, *columns))
        return tf.data.Dataset.from_tensor_slices(dict(zip(ARRAYS, arrays, strict=True)))

    end, times = (np.iinfo(np.int64).max, -1) if num_epochs is None else (num_epochs, 1)
    return tf.data.Dataset.range(first_epoch, end).flat_map(epoch).repeat(times)


def planned_batches(
    plan: TrainingPlan, *, first_epoch: int, num_epochs: int | None
) -> tf.data.Dataset:
    """Return the plan of epochs `first_epoch` to `num_epochs` - 1, a batch an element.

    Raises:
        ConfigError: so many epochs of so many images do not fit into a graph.
    """
    if num_epochs is None:
        raise ValueError("data_service needs num_epochs: the plan travels to the workers")
    row_bytes = sum(kind.size * max(1, sum(columns)) for kind, columns in ARRAYS.values())
    num_rows = (num_epochs - first_epoch) * plan.steps_per_epoch * plan.batch_size
    if row_bytes * num_rows > MAX_CONSTANT_BYTES:
        raise ConfigError(
            f"training.data_service: the plan of {num_epochs - first_epoch} epochs, {num_rows:,} "
            f"images, has {row_bytes * num_rows / 1e9:.1f} GB and does not fit into a graph "
            f"({MAX_CONSTANT_BYTES / 1e9:.1f} GB): train fewer epochs at once"
        )
    epochs = [plan.epoch(number) for number in range(first_epoch, num_epochs)]
    return tf.data.Dataset.from_tensor_slices(
        {
            name: np.concatenate([e[name] for e in epochs]).reshape(-1, plan.batch_size, *columns)
            for name, (_, columns) in ARRAYS.items()
        }
    )
