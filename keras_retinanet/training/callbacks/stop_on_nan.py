"""StopOnNaN: ends a training whose loss is no number, with what is needed to find out why."""

import math
from collections.abc import Callable

import keras

from keras_retinanet.errors import TrainingDiverged
from keras_retinanet.training.progress import Progress


class StopOnNaN(keras.callbacks.Callback):
    """Raises TrainingDiverged when the loss is NaN or infinite, naming the batch's images.

    Args:
        images: returns the paths of the images in a batch, by epoch and step from 0 on; None if
            they are not known.
        last_good: returns what the message says of the last good state.
    """

    def __init__(
        self,
        *,
        progress: Progress,
        images: Callable[[int, int], list[str] | None],
        last_good: Callable[[], str],
    ) -> None:
        super().__init__()
        self.progress = progress
        self.images = images
        self.last_good = last_good

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            return
        epoch, steps = self.progress.place
        images = self.images(epoch, steps - 1)
        named = "not known: batches of training.data_service come in no planned order"
        if images is not None:
            named = ", ".join(images)
        raise TrainingDiverged(
            f"the loss is {loss} in epoch {epoch + 1}, step {steps}: lower "
            "optimizer.learning_rate or raise schedule.warmup_iterations, and look at the batch's "
            f"images ({named}); {self.last_good()}"
        )
