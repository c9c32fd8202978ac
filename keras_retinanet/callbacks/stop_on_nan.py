"""StopOnNaN: ends a training whose loss is no number any more."""

import math
from collections.abc import Callable
from pathlib import Path

import keras

from keras_retinanet.errors import TrainingDiverged


class StopOnNaN(keras.callbacks.Callback):
    """Raises TrainingDiverged when the loss is NaN or infinite, naming the batch's images.

    Args:
        images_of: epoch, step -> paths of the images in the batch.
        saved: the folder of the checkpoints of earlier epochs.
    """

    def __init__(self, images_of: Callable[[int, int], list[str]], saved: Path) -> None:
        super().__init__()
        self.images_of = images_of
        self.saved = saved
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            return
        kept = sorted(self.saved.glob("epoch_*.keras"))
        state = f"the last good state is {kept[-1]}" if kept else "no epoch was finished before"
        raise TrainingDiverged(
            f"the loss is {loss} in epoch {self.epoch + 1}, step {batch + 1}: lower "
            "optimizer.learning_rate or raise schedule.warmup_iterations, and look at the batch's "
            f"images ({', '.join(self.images_of(self.epoch, batch))}); {state}"
        )
