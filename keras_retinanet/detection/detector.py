"""The interface of all runtimes, and the walk over image files for those that take scaled images.

`evaluate`, `predict`, the parity check of exports and `benchmark` know detectors by this alone.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.batches import (
    canvas_order,
    network_inputs,
    preprocess,
    scaled_inputs,
)
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.tiling import Tiling
from keras_retinanet.system.prefetch import prefetched

# Batches that wait decoded and stacked while the network runs.
BATCHES_AHEAD = 2

# "boxes" [n, 4] xyxy in pixels of the upright image, "scores" [n] descending, "classes" [n].
Detections = dict[str, np.ndarray]


class Detector(Protocol):
    """Finds objects of known classes in image files.

    Attributes:
        tiling: how its model wants images to be cut; `TiledDetector` does it.
    """

    class_names: tuple[str, ...]
    inference: InferenceSettings
    tiling: Tiling

    def prepare(self) -> None:
        """Get ready for a walk over images."""

    def detect_pixels(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return the detections in upright images uint8 [H, W, 3], which are taken at once."""
        ...

    def detect_files(
        self,
        image_paths: Sequence[str],
        heights: np.ndarray,
        widths: np.ndarray,
        *,
        batch_size: int = 8,
    ) -> Iterator[tuple[int, Detections]]:
        """Yield (index, detections) of image files of known upright size, in no given order."""
        ...

    def batch_plan(
        self, heights: np.ndarray, widths: np.ndarray, *, batch_size: int
    ) -> list[np.ndarray]:
        """Return which images `detect_files` takes at once, in its order.

        Of any of these batches, in this order, it makes the same batches again: so a share of them
        gives the same detections, to the last bit, as all.
        """
        ...


class NetworkDetector:
    """A detector whose runtime takes batches of scaled and padded images, the network's inputs.

    Subclasses set the attributes and define `__call__`.
    """

    class_names: tuple[str, ...]
    inference: InferenceSettings
    tiling: Tiling
    input_policy: InputPolicy
    _scale: Callable | None = None

    def __call__(self, images: np.ndarray, sizes: np.ndarray) -> Detections:
        """Return what `postprocess.decode_detections` does, in NumPy.

        Args:
            images: uint8 [B, H, W, 3], or float32 where the input policy says so.
            sizes: int32 [B, 2], height and width of each image without its padding.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """Get ready for a walk over images."""

    def detect_pixels(self, images: Sequence[np.ndarray]) -> list[Detections]:
        if self._scale is None:  # one graph for images of all sizes
            self._scale = tf.function(
                lambda image: preprocess(image, self.input_policy),
                input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)],
                autograph=False,
            )
        elements: list[dict] = []
        for i, image in enumerate(images):
            scaled, size = self._scale(image)
            elements.append({"index": i, "image": scaled.numpy(), "size": size.numpy()})
        # Images of one canvas go through the network together.
        elements.sort(key=lambda element: element["image"].shape)
        results: dict[int, Detections] = {}
        for _, same in itertools.groupby(elements, key=lambda element: element["image"].shape):
            index, inputs, sizes = _stack(list(same))
            found = self(inputs, sizes)
            for row, i in enumerate(index):
                results[i] = _in_image(found, row, sizes[row], images[i].shape[:2])
        return [results[i] for i in range(len(images))]

    def detect_files(
        self,
        image_paths: Sequence[str],
        heights: np.ndarray,
        widths: np.ndarray,
        *,
        batch_size: int = 8,
    ) -> Iterator[tuple[int, Detections]]:
        inputs = network_inputs(list(image_paths), heights, widths, self.input_policy)
        yield from self._walk(inputs, heights, widths, batch_size)

    def batch_plan(
        self, heights: np.ndarray, widths: np.ndarray, *, batch_size: int
    ) -> list[np.ndarray]:
        order, canvases = canvas_order(heights, widths, self.input_policy)
        changes = np.flatnonzero((canvases[1:] != canvases[:-1]).any(axis=1)) + 1
        return [
            same[start : start + batch_size]
            for same in np.split(order, changes)
            for start in range(0, len(same), batch_size)
        ]

    def detect_images(
        self,
        load: Callable[[Tensor], Tensor],
        heights: np.ndarray,
        widths: np.ndarray,
        *,
        batch_size: int = 8,
    ) -> Iterator[tuple[int, Detections]]:
        """Yield (index, detections) of upright images that `load` gives, in no given order.

        Args:
            load: in a graph, index of an image -> its pixels, uint8 [H, W, 3].
        """
        inputs = scaled_inputs(load, heights, widths, self.input_policy)
        yield from self._walk(inputs, heights, widths, batch_size)

    def _walk(
        self, inputs: tf.data.Dataset, heights: np.ndarray, widths: np.ndarray, batch_size: int
    ) -> Iterator[tuple[int, Detections]]:
        self.prepare()
        for index, images, sizes in prefetched(_batches(inputs, batch_size), BATCHES_AHEAD):
            found = self(images, sizes)
            for i, image in enumerate(index):
                yield image, _in_image(found, i, sizes[i], (heights[image], widths[image]))


def _in_image(found: Detections, row: int, size: np.ndarray, sides: Sequence[int]) -> Detections:
    """Return the detections of one of a batch, in pixels of its image.

    Args:
        size: height and width of the network's input without its padding.
        sides: height and width of the image.
    """
    count = found["num_detections"][row]
    scale = np.array([sides[1], sides[0]] * 2) / np.tile(size[::-1], 2)
    return {
        "boxes": found["boxes"][row, :count] * scale,
        "scores": found["scores"][row, :count],
        "classes": found["classes"][row, :count],
    }


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
