"""From images of any kind to the objects in them: what `model.detect(images)` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.images.decoding import read_pixels
from keras_retinanet.data.images.inspection import inspect_images
from keras_retinanet.detection.detector import Detections, NetworkDetector
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.detection.tiled_detector import TiledDetector
from keras_retinanet.errors import DataError
from keras_retinanet.models.retinanet import RetinaNet


@dataclass(frozen=True)
class FoundObjects:
    """The objects found in one image, the surest first.

    Attributes:
        boxes: float32 [n, 4] xyxy in pixels of the upright image.
        scores: float32 [n].
        labels: int32 [n].
        names: of the objects' classes, n of them.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)


def detect(
    detector: NetworkDetector, images: Any, *, min_score: float = 0.0, batch_size: int = 8
) -> FoundObjects | list[FoundObjects]:
    """Return the objects in an image; of a list of images, or an array [B, H, W, 3], a list.

    Args:
        images: paths of image files, NumPy arrays uint8 [H, W, 3] or [H, W, 4] (RGB; alpha is
            dropped) or [H, W] (grey), and PIL images, in any mixture of kinds and sizes. Files and
            PIL images that have an EXIF orientation are turned upright; arrays are taken as given.
        min_score: objects with a lower score are left out, beside those at or below the model's
            own `inference.score_threshold`.
        batch_size: so many images of one size go through the network at once.

    Raises:
        ValueError: an image is of another kind, or an option out of range.
        DataError: an image file cannot be read.
    """
    if not 0 <= min_score <= 1:
        raise ValueError(f"min_score must be between 0 and 1, got {min_score}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    is_batch = isinstance(images, np.ndarray) and images.ndim == 4
    if not is_batch and not isinstance(images, list | tuple):
        return _detect_all(detector, [images], min_score, batch_size)[0]
    return _detect_all(detector, images, min_score, batch_size)


def detector_of(model: RetinaNet, known: KerasDetector | None) -> KerasDetector:
    """Return the detector of a model: the one that is known, if it still has its settings."""
    if known is not None and known.settings == DetectorSettings.of_model(model):
        return known
    return KerasDetector(model)


def _detect_all(
    detector: NetworkDetector, images: Sequence[Any], min_score: float, batch_size: int
) -> list[FoundObjects]:
    if not len(images):
        return []
    opened = _Images(images)
    walker: NetworkDetector | TiledDetector = detector
    if detector.tiling.size is not None:
        walker = TiledDetector(detector, detector.tiling)
    walk = walker.detect_images(opened.load, opened.heights, opened.widths, batch_size=batch_size)
    found = {i: _objects(each, detector.class_names, min_score) for i, each in walk}
    return [found[i] for i in range(len(images))]


class _Images:
    """Images of all kinds, with their upright sizes; files are decoded when they are asked for.

    Attributes:
        heights, widths: [N] int32.
    """

    def __init__(self, images: Sequence[Any]) -> None:
        self._images = [x if isinstance(x, str | Path) else read_pixels(x) for x in images]
        files = [str(x) for x in self._images if not isinstance(x, np.ndarray)]
        headers = iter(inspect_images(files))
        sides = []
        for image in self._images:
            if isinstance(image, np.ndarray):
                sides.append(image.shape[:2])
                continue
            header = next(headers)
            if Path(image).is_dir():
                raise DataError(f"{image} is a folder: give a list of its files")
            if header.fault:
                raise DataError(f"{image}: {header.fault}")
            sides.append((header.height, header.width))
        self.heights, self.widths = np.array(sides, np.int32).T

    def load(self, index: Tensor) -> Tensor:
        """Return the pixels of an image, uint8 [H, W, 3], in a graph."""
        return tf.ensure_shape(tf.numpy_function(self._load, [index], tf.uint8), (None, None, 3))

    def _load(self, index: np.ndarray) -> np.ndarray:
        return read_pixels(self._images[int(index)])


def _objects(found: Detections, class_names: tuple[str, ...], min_score: float) -> FoundObjects:
    kept = found["scores"] >= min_score
    labels = found["classes"][kept].astype(np.int32)
    return FoundObjects(
        boxes=found["boxes"][kept].astype(np.float32),
        scores=found["scores"][kept].astype(np.float32),
        labels=labels,
        names=tuple(class_names[label] for label in labels),
    )
