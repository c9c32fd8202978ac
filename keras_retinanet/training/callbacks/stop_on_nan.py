"""StopOnNaN: ends a training whose loss is no number, with what is needed to find out why."""

import math
from collections.abc import Callable

import keras

from keras_retinanet.errors import TrainingDiverged
from keras_retinanet.training.callbacks.save_checkpoints import SaveCheckpoints


class StopOnNaN(keras.callbacks.Callback):
    """Raises TrainingDiverged when the loss is NaN or infinite, naming the batch's images.

    Args:
        images: returns the paths of the images in the batch of the step, None if not known.
        saver: what counts the steps, and saves good states.
    """

    def __init__(self, images: Callable[[], list[str] | None], saver: SaveCheckpoints) -> None:
        super().__init__()
        self.images = images
        self.saver = saver

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            return
        images = self.images()
        named = "not known: batches of training.data_service come in no planned order"
        if images is not None:
            named = ", ".join(images)
        raise TrainingDiverged(
            f"the loss is {loss} in epoch {self.saver.epoch + 1}, step {self.saver.step + 1}: "
            "lower optimizer.learning_rate or raise schedule.warmup_iterations, and look at the "
            f"batch's images ({named}); {self.saver.last_good()}"
        )
