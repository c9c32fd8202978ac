"""Detections from runtimes that take whole images: scaling and NMS are inside of what they run."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_retinanet.data.images.address import read_image_bytes
from keras_retinanet.detection.detector import Detections
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.geometry.tiling import WHOLE_IMAGES


class ServedDetector:
    """What a served model finds in image files.

    Args:
        settings: of the model that was exported.
        first_class: the number of its first class.
        one_by_one: it takes one image at a time, since pixels need one size for all.
        cuts_tiles: it cuts images itself, as the settings say: nobody else is to.

    Attributes:
        tiling: how images are to be cut before; `tiling_inside`: how they are cut by it.
    """

    def __init__(
        self,
        settings: DetectorSettings,
        *,
        first_class: int = 0,
        one_by_one: bool = False,
        cuts_tiles: bool = False,
    ) -> None:
        self.class_names = settings.class_names
        self.inference = settings.inference
        self.tiling, self.tiling_inside = settings.tiling, WHOLE_IMAGES
        if cuts_tiles:
            self.tiling, self.tiling_inside = WHOLE_IMAGES, settings.tiling
        self.first_class = first_class
        self._one_by_one = one_by_one

    def serve(self, files: list[bytes]) -> dict[str, np.ndarray]:
        """Return what is served for image files: "detection_boxes" and the others, [N, ...]."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Nothing is to be done."""

    def detect_pixels(self, images: Sequence[np.ndarray]) -> list[Detections]:
        sides = np.array([image.shape[:2] for image in images], np.int32).reshape(-1, 2)
        results: list[Detections] = []
        for index in self.batch_plan(*sides.T, batch_size=max(1, len(images))):
            # Without loss, and hardly compressed: the file lives until it is decoded.
            files = [tf.io.encode_png(images[i], compression=1).numpy() for i in index]
            served = self.serve(files)
            results += [self._detections(served, row, *sides[i]) for row, i in enumerate(index)]
        return results

    def detect_files(
        self,
        image_paths: Sequence[str],
        heights: np.ndarray,
        widths: np.ndarray,
        *,
        batch_size: int = 8,
    ) -> Iterator[tuple[int, Detections]]:
        for index in self.batch_plan(heights, widths, batch_size=batch_size):
            served = self.serve([read_image_bytes(image_paths[i]) for i in index])
            for row, i in enumerate(index):
                yield int(i), self._detections(served, row, heights[i], widths[i])

    def batch_plan(
        self, heights: np.ndarray, widths: np.ndarray, *, batch_size: int
    ) -> list[np.ndarray]:
        step = 1 if self._one_by_one else batch_size
        return [np.arange(i, min(i + step, len(heights))) for i in range(0, len(heights), step)]

    def _detections(
        self, served: dict[str, np.ndarray], row: int, height: int, width: int
    ) -> Detections:
        one = {name: values[row] for name, values in served.items()}
        return in_pixels(one, height, width, first_class=self.first_class)


def in_pixels(
    served: Mapping[str, np.ndarray], height: int, width: int, *, first_class: int
) -> Detections:
    """Return what was served for one image in pixels of it.

    Args:
        served: as `ServedDetector.serve`, without the request's dimension.
        first_class: the number of the first class.
    """
    count = int(served["num_detections"])
    boxes = served["detection_boxes"][:count] * np.array([height, width] * 2)
    classes = served["detection_classes"][:count].astype(np.int32)
    return {
        "boxes": boxes[:, [1, 0, 3, 2]],
        "scores": served["detection_scores"][:count],
        "classes": classes - first_class,
    }
