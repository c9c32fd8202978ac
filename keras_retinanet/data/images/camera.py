"""The images of a camera, as it gives them, by OpenCV."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from keras_retinanet.errors import DataError

NEEDS_OPENCV = "cameras need: pip install opencv-python-headless"


def camera_frames(index: int) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
    """Yield the seconds since a camera was opened, and what makes the pixels: RGB uint8 [H, W, 3].

    Raises:
        DataError: OpenCV is not installed, or there is no such camera.
    """
    try:
        import cv2
    except ImportError as error:
        raise DataError(NEEDS_OPENCV) from error
    capture = cv2.VideoCapture(index)
    try:
        if not capture.isOpened():
            raise DataError(f"there is no camera {index}, or it is in use")
        start = time.monotonic()
        while True:
            is_there, pixels = capture.read()
            if not is_there:
                return
            yield time.monotonic() - start, partial(_bgr_to_rgb, pixels)
    finally:
        capture.release()


def _bgr_to_rgb(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., ::-1])
