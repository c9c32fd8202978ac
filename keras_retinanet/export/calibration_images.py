"""Images that int8 formats take the ranges of their maps from."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.images.decoding import read_pixels
from keras_retinanet.errors import DataError

logger = logging.getLogger(__name__)

# Fewer calibration images leave the ranges of an int8 network to chance.
FEW_CALIBRATION_IMAGES = 32


def refuse_no_images(images: Sequence) -> None:
    """Raise DataError where there are no images, or no files of them, to calibrate with."""
    if not len(images):
        raise DataError(
            "int8 needs images to take the ranges of its maps from: give --calibrate DATA, the "
            "data YAML of the training set"
        )


def calibration_inputs(
    files: Sequence[str], prepare: Callable[[Tensor], Tensor]
) -> list[np.ndarray]:
    """Return the network's inputs for image files; few or broken ones are a warning.

    Args:
        prepare: an image uint8 [H, W, 3] -> the network's input.

    Raises:
        DataError: none can be decoded.
    """
    images, broken = [], []
    for file in files:
        try:
            image = tf.constant(read_pixels(file))
        except DataError:
            broken.append(file)
            continue
        images.append(prepare(image).numpy())
    if not images:
        raise DataError(f"none of the {len(files)} calibration images can be decoded: {files[0]}")
    if broken:
        logger.warning(
            "%d of %d calibration images cannot be decoded and are left out (first: %s)",
            len(broken),
            len(files),
            broken[0],
        )
    if len(images) < FEW_CALIBRATION_IMAGES:
        logger.warning(
            "only %d calibration image%s: %d or more give ranges that hold for other images",
            len(images),
            "" if len(images) == 1 else "s",
            FEW_CALIBRATION_IMAGES,
        )
    return images
