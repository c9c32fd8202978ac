"""Detections that several workers found, each in its share of the images, brought together."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.detection.detector import Detections, Detector
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.detection.tiled_detector import TiledDetector


def on_replicas(detector: Detector) -> KerasDetector | None:
    """Return the part of a detector that runs on a strategy's replicas, if there is one."""
    inner = detector.detector if isinstance(detector, TiledDetector) else detector
    return inner if isinstance(inner, KerasDetector) else None


def gathered(
    detector: KerasDetector,
    images: Sequence[int],
    found: dict[int, Detections],
    num_images: int,
    num_workers: int,
) -> Iterator[tuple[int, Detections]]:
    """Yield the detections of all workers' images, where `found` holds this worker's."""
    most, rows = detector.max_detections, -(-num_images // num_workers)
    index = np.full(rows, -1, np.int64)
    # float64 carries boxes, scores and class numbers unchanged.
    values = np.zeros((rows, most, 6))
    counts = np.zeros(rows, np.int64)
    for row, image in enumerate(images):
        detections = found[image]
        index[row], counts[row] = image, len(detections["scores"])
        columns = detections["boxes"], detections["scores"][:, None], detections["classes"][:, None]
        values[row, : counts[row]] = np.concatenate(columns, axis=1)

    def gather(array: np.ndarray) -> np.ndarray:
        def of_replica(context: Any) -> tf.Tensor:
            # The first of the worker's replicas brings everything.
            is_first = context.replica_id_in_sync_group % detector.num_replicas == 0
            return tf.constant(array if is_first else array[:0])

        strategy = detector.strategy
        return strategy.gather(
            strategy.experimental_distribute_values_from_function(of_replica), axis=0
        ).numpy()

    for image, count, value in zip(gather(index).tolist(), gather(counts), gather(values)):
        if image >= 0:
            value = value[:count]
            yield (
                image,
                {
                    "boxes": value[:, :4],
                    "scores": value[:, 4],
                    "classes": value[:, 5].astype(np.int64),
                },
            )
