"""TensorBoard: scalars, detections on some validation images, and precision over recall."""

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.evaluation.pictures import (
    precision_recall_curves,
    truth_and_detections,
)
from keras_retinanet.training.callbacks.clock import Clock
from keras_retinanet.training.callbacks.run_callback import Evaluation, RunCallback

STEPS_BETWEEN_LOSSES = 20
LOSSES = ("loss", "class_loss", "box_loss", "box_quality_loss")
# The plugins of TensorBoard that show an entry.
SCALARS, IMAGES = "scalars", "images"


class TensorBoard(RunCallback):
    """Writes events whose steps are those of the whole training, restarts included.

    Losses every 20 steps (means since the epoch began) and all logs of an epoch; at each evaluation
    COCO's figures and AP by class, the detections in some images beside their objects, and the
    precision over the recall. What an interrupted run wrote after the step that this one starts
    from is marked as void.

    Args:
        dataset: what is evaluated on; None: nothing.
        images: indices of the images to draw.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock,
        dataset: DetectionDataset | None = None,
        images: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.folder = folder
        self.clock = clock
        self.progress = clock.progress
        self.dataset = dataset
        self.images = images
        self._writer: Any = None
        self._logged = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self._writer is None:
            self._writer = _event_writer(self.folder)
            self._logged = self.progress.step
            if self.progress.step:
                # Steps from this on are dropped by readers: a run wrote them that was broken off.
                start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
                self._write(self.progress.step + 1, session_log=start)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if (
            self.progress.step - self._logged >= STEPS_BETWEEN_LOSSES
            and not self.progress.is_epoch_end
        ):
            logs = logs or {}
            self._scalars({name: logs[name] for name in LOSSES if name in logs})
            self._logged = self.progress.step

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if not self.progress.is_epoch_end:
            return
        figures = {name: value for name, value in (logs or {}).items() if name != "step"}
        for name in ("AP", "AP50", "AP75", "evaluation_seconds"):
            figures.pop(name, None)  # written with the evaluation
        self._scalars({**figures, "epoch": epoch + 1})
        self._logged = self.progress.step
        self._writer.flush()

    def on_evaluation(self, evaluation: Evaluation) -> None:
        figures = dict(evaluation.metrics)
        per_class = figures.pop("per_class")
        named = {f"COCO/{name}": value for name, value in figures.items()}
        named |= {f"AP of classes/{name}": value for name, value in per_class.items()}
        named["evaluation_seconds"] = evaluation.seconds
        self._scalars({name: value for name, value in named.items() if value is not None})
        if self.dataset is None:
            return
        for image in self.images:
            picture = truth_and_detections(self.dataset, image, evaluation.found.detections(image))
            name = Path(self.dataset.image_paths[image]).name
            self._picture(f"detections/{image}_{name}", picture)
        labels = self.dataset.labels[~self.dataset.is_ignored]
        counts = np.bincount(labels, minlength=len(self.dataset.class_names))
        self._picture(
            "precision and recall",
            precision_recall_curves(
                evaluation.found.precisions(), self.dataset.class_names, counts
            ),
        )
        self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _scalars(self, values: dict[str, Any]) -> None:
        summary = tf.compat.v1.Summary()
        for name, value in values.items():
            tensor = tf.make_tensor_proto(float(value), tf.float32)
            summary.value.add(tag=name, metadata=_shown_by(SCALARS), tensor=tensor)
        self._write(self.progress.step, summary=summary)

    def _picture(self, tag: str, picture: Image.Image) -> None:
        file = io.BytesIO()
        picture.save(file, format="png")
        sides = [str(side).encode() for side in picture.size]
        tensor = tf.make_tensor_proto([*sides, file.getvalue()], tf.string)
        summary = tf.compat.v1.Summary()
        summary.value.add(tag=tag, metadata=_shown_by(IMAGES), tensor=tensor)
        self._write(self.progress.step, summary=summary)

    def _write(self, step: int, **content: Any) -> None:
        event = tf.compat.v1.Event(wall_time=time.time(), step=step, **content)
        self._writer.add_event(event)


def _event_writer(folder: Path) -> Any:
    """Return a writer of events, in a file of its own.

    That of TensorFlow 1: `tf.summary` writes no session log, without which readers would show what
    an interrupted run wrote twice. It wants a graph, into which it puts nothing.
    """
    with tf.Graph().as_default():
        return tf.compat.v1.summary.FileWriter(
            # TensorFlow's own name is the second and the host's: two starts would share a file.
            str(folder),
            filename_suffix=f".{time.time_ns()}",
        )


def _shown_by(plugin: str) -> Any:
    name = tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin)
    return tf.compat.v1.SummaryMetadata(plugin_data=name)
