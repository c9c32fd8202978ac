"""Callbacks of a training: evaluation that keeps the best model, stopping on NaN."""

import math
from collections.abc import Callable
from pathlib import Path

import keras

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.detectors.keras_model import KerasDetector
from keras_retinanet.errors import TrainingDiverged
from keras_retinanet.evaluation import evaluate
from keras_retinanet.model_files import save_for_inference
from keras_retinanet.saving import SaveCheckpoints
from keras_retinanet.weight_average import averaged_weights


class EvaluateOnDataset(keras.callbacks.Callback):
    """Measures COCO AP after epochs, adds it to the logs, and saves the best model.

    Args:
        every: epochs between evaluations; the last epoch is always evaluated.
        best_path: where the model with the highest AP so far is saved, for use, not for resuming.
    """

    def __init__(
        self, dataset: DetectionDataset, *, every: int, batch_size: int, best_path: Path
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.every = every
        self.batch_size = batch_size
        self.best_path = best_path
        self.best_ap = -math.inf
        self.best_epoch = 0
        self._detector: KerasDetector | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._detector = KerasDetector(self.model)  # one graph for all evaluations

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = {} if logs is None else logs
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            # The columns of metrics.csv are those of the first epoch.
            logs.update(dict.fromkeys(("AP", "AP50", "AP75"), math.nan))
            return
        with averaged_weights(self.model):
            metrics, _ = evaluate(self._detector, self.dataset, batch_size=self.batch_size)
            for name in ("AP", "AP50", "AP75"):
                logs[name] = math.nan if metrics[name] is None else metrics[name]
            if logs["AP"] > self.best_ap:
                self.best_ap, self.best_epoch = logs["AP"], epoch + 1
                save_for_inference(self.model, self.best_path)


class LogLearningRate(keras.callbacks.Callback):
    """Adds the learning rate at the end of the epoch to the logs."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class StopOnNaN(keras.callbacks.Callback):
    """Raises TrainingDiverged when the loss is NaN or infinite, naming the batch's images.

    Args:
        images: returns the paths of the images in the batch of the step.
        saver: what counts the steps, and saves good states.
    """

    def __init__(self, images: Callable[[], list[str]], saver: SaveCheckpoints) -> None:
        super().__init__()
        self.images = images
        self.saver = saver

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            return
        raise TrainingDiverged(
            f"the loss is {loss} in epoch {self.saver.epoch + 1}, step {self.saver.step + 1}: "
            "lower optimizer.learning_rate or raise schedule.warmup_iterations, and look at the "
            f"batch's images ({', '.join(self.images())}); {self.saver.last_good()}"
        )
