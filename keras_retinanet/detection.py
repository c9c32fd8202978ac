"""Running a model over image files: one graph for all sizes, over all replicas of its strategy,
with decoding ahead of the network."""

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from keras_retinanet.data.pipeline import network_inputs
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.postprocess import detect

Detections = dict[str, np.ndarray]
Tensor = Any
Item = TypeVar("Item")

# Batches that wait decoded and stacked while the network runs.
BATCHES_AHEAD = 2


class Detector:
    """A RetinaNet's detections as one graph for images of all sizes.

    The graph is made at the first call, with the thresholds that the model has then. A model built
    under a tf.distribute strategy runs on all of this process' replicas.
    """

    def __init__(self, model: RetinaNet) -> None:
        self.class_names = model.class_names
        self.input_policy = model.input_policy
        self.max_detections = model.max_detections
        self.strategy = model.distribute_strategy
        self.num_replicas = 1  # of this process: MirroredStrategy's all
        if self.strategy.num_replicas_in_sync > 1:
            self.num_replicas = len(self.strategy.extended.worker_devices)
        self._model = model
        self._run = tf.function(
            # With several workers even one replica of its own has to be in a replica's context:
            # elsewhere, variables are read over all workers, which run different numbers of steps.
            self._detect_on_replicas
            if self.strategy.num_replicas_in_sync > 1
            else self._detect,
            input_signature=[
                tf.TensorSpec((None, None, None, 3), tf.uint8),
                tf.TensorSpec((None, 2), tf.int32),
            ],
            autograph=False,
        )

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
        return detect(self._model, images, sizes)

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
    image_paths: list[str],
    heights: np.ndarray,
    widths: np.ndarray,
    *,
    batch_size: int = 8,
    inputs: tf.data.Dataset | None = None,
) -> Iterator[tuple[int, Detections]]:
    """Yield (index, detections) of image files of known upright size, in no particular order.

    Detections: "boxes" [n, 4] xyxy in pixels of the upright image, "scores" [n] descending and
    "classes" [n].

    Args:
        inputs: what `network_inputs` made of these files, for those who come again and again.
    """
    detector = model if isinstance(model, Detector) else Detector(model)
    if inputs is None:
        inputs = network_inputs(image_paths, heights, widths, detector.input_policy)
    for index, images, sizes in ahead(_batches(inputs, batch_size), BATCHES_AHEAD):
        found = detector(images, sizes)
        for i, image in enumerate(index):
            count = found["num_detections"][i]
            scale = np.array([widths[image], heights[image]] * 2) / np.tile(sizes[i][::-1], 2)
            yield (
                image,
                {
                    "boxes": found["boxes"][i, :count] * scale,
                    "scores": found["scores"][i, :count],
                    "classes": found["classes"][i, :count],
                },
            )


def ahead(items: Iterator[Item], most: int) -> Iterator[Item]:
    """Yield the items, which a thread makes in advance, at most so many; its errors are raised."""
    waiting: queue.Queue = queue.Queue(most)
    is_given_up = threading.Event()

    def put(entry: tuple[str, Any]) -> bool:
        while not is_given_up.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def fill() -> None:
        try:
            for item in items:
                if not put(("item", item)):
                    return
            put(("end", None))
        except BaseException as error:  # raised where the items are used
            put(("error", error))

    thread = threading.Thread(target=fill, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        is_given_up.set()
        thread.join()


def _batches(
    inputs: tf.data.Dataset, batch_size: int
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Yield (indices, images, sizes) of consecutive inputs with one canvas size."""
    waiting: list[dict] = []
    for element in inputs.as_numpy_iterator():
        full = len(waiting) == batch_size
        if full or (waiting and waiting[0]["image"].shape != element["image"].shape):
            yield _stack(waiting)
            waiting = []
        waiting.append(element)
    if waiting:
        yield _stack(waiting)


def _stack(elements: list[dict]) -> tuple[list[int], np.ndarray, np.ndarray]:
    return (
        [int(e["index"]) for e in elements],
        np.stack([e["image"] for e in elements]),
        np.stack([e["size"] for e in elements]),
    )
