"""Detections from runtimes that take whole images: scaling and NMS are inside of what they run."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from keras_retinanet.data.images.address import read_image_bytes
from keras_retinanet.detection.detector import Detections


class ServedDetector(ABC):
    """What a served model finds in image files.

    Args:
        first_class: the number of its first class.
        one_by_one: it takes one image at a time, since pixels need one size for all.
    """

    def __init__(
        self, class_names: Sequence[str], *, first_class: int = 0, one_by_one: bool = False
    ) -> None:
        self.class_names = tuple(class_names)
        self._first_class = first_class
        self._one_by_one = one_by_one

    @abstractmethod
    def serve(self, files: list[bytes]) -> dict[str, np.ndarray]:
        """Return what is served for image files: "detection_boxes" and the others, [N, ...]."""

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
        count = int(served["num_detections"][row])
        boxes = served["detection_boxes"][row, :count] * np.array([height, width] * 2)
        classes = served["detection_classes"][row, :count].astype(np.int32)
        return {
            "boxes": boxes[:, [1, 0, 3, 2]],
            "scores": served["detection_scores"][row, :count],
            "classes": classes - self._first_class,
        }
