"""Parity: whether an exported model gives the detections of the Keras model it was made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.data.image_files import inspect_images
from keras_retinanet.errors import DataError, WeightsError
from keras_retinanet.evaluation import Detections, detect_files
from keras_retinanet.models.retinanet import RetinaNet

# Largest differences of a float32 export: different graphs sum in different orders.
MAX_BOX_DIFFERENCE = 0.01  # pixels of the original image
MAX_SCORE_DIFFERENCE = 1e-5

# Pictures for a comparison without the user's images.
_SYNTHETIC_SIZES = ((240, 320), (320, 200))


@dataclass(frozen=True)
class Parity:
    """Largest differences found between two models' detections.

    Attributes:
        num_images: images compared; synthetic ones if `is_synthetic`.
        num_detections: detections of the Keras model on them.
        box: pixels of the original image.
        score: of the sigmoid.
        num_mismatches: images with another number, order or class of detections.
    """

    num_images: int
    num_detections: int
    box: float
    score: float
    num_mismatches: int
    is_synthetic: bool

    def refuse_if_different(self) -> None:
        """Raise WeightsError if the difference is more than rounding."""
        if (
            self.num_mismatches
            or self.box > MAX_BOX_DIFFERENCE
            or self.score > MAX_SCORE_DIFFERENCE
        ):
            raise WeightsError(f"the export computes something else, nothing is published: {self}")

    def __str__(self) -> str:
        kind = "synthetic images" if self.is_synthetic else "images"
        return (
            f"{self.num_detections} detections on {self.num_images} {kind}: largest difference of "
            f"a box {self.box:.2g} px, of a score {self.score:.2g}; "
            f"{self.num_mismatches} images with other detections"
        )


def compare_with_saved_model(
    model: RetinaNet, saved_model: Path, image_files: Sequence[str]
) -> Parity:
    """Load a SavedModel and compare its serve_bytes signature with the Keras model on image files.

    Without files, two pictures of smooth noise are used.

    Raises:
        DataError: a file is not a usable image.
    """
    is_synthetic = not image_files
    if is_synthetic:
        folder = saved_model / "verification"
        folder.mkdir()
        image_files = [_write_noise(folder / f"{h}x{w}.png", h, w) for h, w in _SYNTHETIC_SIZES]
    try:
        served = tf.saved_model.load(str(saved_model)).signatures["serve_bytes"]
        headers = inspect_images(image_files)
        for file, header in zip(image_files, headers, strict=True):
            if header.fault:
                raise DataError(f"{file} cannot be used to verify the export: {header.fault}")
        heights = np.array([header.height for header in headers])
        widths = np.array([header.width for header in headers])
        count, mismatches, box, score = 0, 0, 0.0, 0.0
        for i, expected in detect_files(model, list(image_files), heights, widths):
            image_bytes = tf.io.read_file(image_files[i])
            found = _from_served(served(image_bytes=image_bytes[None]), heights[i], widths[i])
            count += len(expected["scores"])
            if not np.array_equal(found["classes"], expected["classes"]):
                mismatches += 1
                continue
            if len(expected["scores"]):
                box = max(box, float(np.abs(found["boxes"] - expected["boxes"]).max()))
                score = max(score, float(np.abs(found["scores"] - expected["scores"]).max()))
    finally:
        if is_synthetic:
            for file in image_files:
                Path(file).unlink()
            folder.rmdir()
    return Parity(len(image_files), count, box, score, mismatches, is_synthetic)


def _from_served(served: dict[str, tf.Tensor], height: int, width: int) -> Detections:
    """Return the first image of a response as `evaluation.detect_files` gives detections."""
    count = int(served["num_detections"][0])
    boxes = served["detection_boxes"][0, :count].numpy() * np.array([height, width] * 2)
    return {
        "boxes": boxes[:, [1, 0, 3, 2]],
        "scores": served["detection_scores"][0, :count].numpy(),
        "classes": served["detection_classes"][0, :count].numpy(),
    }


def _write_noise(path: Path, height: int, width: int) -> str:
    noise = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return str(path)
