"""EvaluateOnDataset: COCO AP in the midst of a training, and the best model kept."""

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.evaluation.evaluate import DatasetEvaluation, write_results
from keras_retinanet.models.saving import save_for_inference
from keras_retinanet.training.callbacks.clock import Clock
from keras_retinanet.training.callbacks.run_callback import Evaluation, RunCallback
from keras_retinanet.training.runs.run_directory import BEST_DETECTIONS_FILE


class EvaluateOnDataset(RunCallback):
    """Measures COCO AP, adds it to the logs, and saves the best model.

    All replicas take part; with several workers, all have to have this callback.

    Args:
        every_epochs: epochs between evaluations; the last epoch is always evaluated, and so is one
            that another callback makes the last.
        every_steps: takes the place of `every_epochs`: steps between evaluations.
        batch_size: of all replicas of this process.
        best_path: where the model with the highest AP so far is saved, for use, not for resuming,
            with its detections beside it; None: nowhere.
        evaluated_weights: a context in which the model has the weights that are to be measured and
            saved, for example their moving average.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        *,
        clock: Clock,
        every_epochs: int,
        every_steps: int | None = None,
        batch_size: int,
        best_path: Path | None,
        evaluated_weights: Callable[[keras.Model], Any] = contextlib.nullcontext,
        listeners: Sequence[RunCallback] = (),
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.clock = clock
        self.progress = clock.progress
        self.every_epochs = every_epochs
        self.every_steps = every_steps
        self.batch_size = batch_size
        self.best_path = best_path
        self.evaluated_weights = evaluated_weights
        self.listeners = listeners
        self.best_ap: float | None = None
        self.best_epoch = 0
        self.best_step = 0
        self._last_step = 0  # of the last evaluation
        self._evaluation: DatasetEvaluation | None = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # At the end of an epoch, its logs are waited for.
        if self._is_step_due() and not self.progress.is_epoch_end:
            self._evaluate({} if logs is None else logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if not self.progress.is_epoch_end:
            return
        is_due = self._is_step_due() if self.every_steps else (epoch + 1) % self.every_epochs == 0
        if is_due or epoch + 1 == self.progress.num_epochs or self.model.stop_training:
            self._evaluate({} if logs is None else logs)

    def _is_step_due(self) -> bool:
        every = self.every_steps
        return every is not None and self.progress.step // every > self._last_step // every

    def _evaluate(self, logs: dict) -> None:
        start = time.perf_counter()
        if self._evaluation is None:  # one graph for all evaluations
            self._evaluation = DatasetEvaluation(
                self.model, self.dataset, batch_size=self.batch_size
            )
        with self.evaluated_weights(self.model):
            found = self._evaluation.run()
            metrics = found.metrics()
            ap = metrics["AP"]
            if ap is not None and (self.best_ap is None or ap > self.best_ap):
                self.best_ap = ap
                self.best_epoch, self.best_step = self.progress.epoch, self.progress.step
                save_for_inference(self.model, self.best_path)
                if self.best_path is not None:
                    write_results(found.results, self.best_path.with_name(BEST_DETECTIONS_FILE))
        self._last_step = self.progress.step
        evaluation = Evaluation(
            epoch=self.progress.epoch,
            step=self.progress.step,
            metrics=metrics,
            found=found,
            seconds=time.perf_counter() - start,
        )
        logs.update(evaluation.logs)
        if "seconds" in logs:
            logs["seconds"] = self.clock.seconds  # with the evaluation
        for listener in self.listeners:
            listener.on_evaluation(evaluation)

    def get_state(self) -> dict:
        return {
            "best_ap": self.best_ap,
            "best_epoch": self.best_epoch,
            "best_step": self.best_step,
            "last_step": self._last_step,
        }

    def set_state(self, state: dict) -> None:
        self.best_ap = state["best_ap"]
        self.best_epoch = state["best_epoch"]
        self.best_step = state["best_step"]
        self._last_step = state["last_step"]
