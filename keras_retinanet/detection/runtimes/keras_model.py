"""The runtime of Keras models and .keras files."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.detection.detector import Detections, Detector, NetworkDetector
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.geometry.postprocess import detect
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import copy_for_inference
from keras_retinanet.system.replicas import agree_on_statistics


class KerasDetector(NetworkDetector):
    """A RetinaNet's detections as one graph for images of all sizes.

    The graph is made at the first call, with the thresholds that the model has then. A model built
    under a tf.distribute strategy runs on all of this process' replicas.
    """

    def __init__(self, model: RetinaNet) -> None:
        self.settings = DetectorSettings.of_model(model)
        self.class_names = model.class_names
        self.inference, self.tiling = model.inference, model.tiling
        self.input_policy = model.input_policy
        self.max_detections = model.inference.max_detections
        self.strategy = model.distribute_strategy
        self.num_replicas = 1  # of this process: MirroredStrategy's all
        if self.strategy.num_replicas_in_sync > 1:
            self.num_replicas = len(self.strategy.extended.worker_devices)
        self.model = model
        self._run = tf.function(
            # With several workers even one replica of its own has to be in a replica's context:
            # elsewhere, variables are read over all workers, which run different numbers of steps.
            self._detect_on_replicas if self.strategy.num_replicas_in_sync > 1 else self._detect,
            input_signature=[
                tf.TensorSpec((None, None, None, 3), model.input_policy.pixels),
                tf.TensorSpec((None, 2), tf.int32),
            ],
            autograph=False,
        )

    def keeping(self, max_detections: int) -> "KerasDetector":
        """Return this detector with another number of detections that it keeps of an image."""
        inference = dataclasses.replace(self.settings.inference, max_detections=max_detections)
        return KerasDetector(copy_for_inference(self.model, inference=inference))

    def prepare(self) -> None:
        if self.strategy.num_replicas_in_sync > 1:
            agree_on_statistics(self.model)  # an image's detections depend on no replica

    def __call__(self, images: np.ndarray, sizes: np.ndarray) -> Detections:
        """Return the detections in network inputs, as `postprocess.detect` does, in NumPy."""
        count = len(images)
        # The replicas get equally many; the results of what fills the last one up are dropped.
        filling = -count % self.num_replicas
        if filling:
            images = np.concatenate([images, np.repeat(images[-1:], filling, axis=0)])
            sizes = np.concatenate([sizes, np.repeat(sizes[-1:], filling, axis=0)])
        return {name: value.numpy()[:count] for name, value in self._run(images, sizes).items()}

    def _detect(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        return detect(self.model, images, sizes)

    def _detect_on_replicas(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        share = tf.shape(images)[0] // self.num_replicas

        def one_replica(images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            start = replica % self.num_replicas * share  # ids go on from worker to worker
            with tf.device("CPU:0"):  # only its own share travels to the device
                images, sizes = images[start : start + share], sizes[start : start + share]
            return self._detect(images, sizes)

        found = self.strategy.run(one_replica, args=(images, sizes))
        return {
            name: tf.concat(self.strategy.experimental_local_results(value), axis=0)
            for name, value in found.items()
        }


def detect_files(
    model: RetinaNet | Detector,
    image_paths: Sequence[str],
    heights: np.ndarray,
    widths: np.ndarray,
    *,
    batch_size: int = 8,
) -> Iterator[tuple[int, Detections]]:
    """Yield (index, detections) of image files of known upright size, in no particular order.

    Detections: "boxes" [n, 4] xyxy in pixels of the upright image, "scores" [n] descending and
    "classes" [n].
    """
    detector = KerasDetector(model) if isinstance(model, RetinaNet) else model
    yield from detector.detect_files(image_paths, heights, widths, batch_size=batch_size)
