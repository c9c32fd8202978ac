"""The interface of all runtimes, and the walk over image files for those that take scaled images.

`evaluate`, `predict`, the parity check of exports and `benchmark` know detectors by this alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.batches import canvas_order, network_inputs, scaled_inputs
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.system.prefetch import prefetched

# Batches that wait decoded and stacked while the network runs.
BATCHES_AHEAD = 2

# "boxes" [n, 4] xyxy in pixels of the upright image, "scores" [n] descending, "classes" [n].
Detections = dict[str, np.ndarray]


class Detector(Protocol):
    """Finds objects of known classes in image files."""

    class_names: tuple[str, ...]

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
    input_policy: InputPolicy

    def __call__(self, images: np.ndarray, sizes: np.ndarray) -> Detections:
        """Return what `postprocess.decode_detections` does, in NumPy.

        Args:
            images: uint8 [B, H, W, 3], or float32 where the input policy says so.
            sizes: int32 [B, 2], height and width of each image without its padding.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """Get ready for a walk over files."""

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
