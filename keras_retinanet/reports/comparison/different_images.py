"""The images in which contestants differ most, as pictures of what each found and missed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from keras_retinanet.data.images.address import image_name
from keras_retinanet.errors import DataError
from keras_retinanet.evaluation.analysis.image_errors import ErrorKind, ImageErrors
from keras_retinanet.reports.comparison.contestant import Contestant
from keras_retinanet.reports.evaluation_report.examples import Box, box_of, corners_of
from keras_retinanet.reports.evaluation_report.measured import Measured
from keras_retinanet.reports.pages.page import jpeg_url

MAX_IMAGES, SIDE, JPEG_QUALITY = 12, 480, 80


@dataclass(frozen=True)
class ImageOfOne:
    """What one contestant found in an image, at its own best score.

    Attributes:
        data_url: the picture, `width` x `height` pixels.
        boxes: of kind "right", "found" (a wrong detection) and "truth" (a missed object).
        missed, wrong: how many objects it missed, and how many detections are wrong.
    """

    name: str
    data_url: str
    width: int
    height: int
    boxes: list[Box]
    missed: int
    wrong: int


@dataclass(frozen=True)
class DifferentImage:
    """An image in which contestants differ; `of_each` in their order."""

    image: str
    of_each: list[ImageOfOne]


def different_images(contestants: Sequence[Contestant]) -> list[DifferentImage]:
    """Return the images whose numbers of errors differ most; those that differ in none are left
    out, and so are those that cannot be read.

    Args:
        contestants: measured on the same images.
    """
    sides = [(each.name, each.measured) for each in contestants if each.measured is not None]
    if len(sides) < 2:
        return []
    counts = np.array([[sum(_errors(m, e)) for e in m.errors] for _, m in sides])
    spread = counts.max(axis=0) - counts.min(axis=0)
    shown: list[DifferentImage] = []
    for image in np.argsort(-spread, kind="stable").tolist():
        if not spread[image] or len(shown) == MAX_IMAGES:
            break
        try:
            shown.append(_different_image(sides, image))
        except DataError:  # its file is gone or damaged
            continue
    return shown


def _errors(measured: Measured, errors: ImageErrors) -> tuple[int, int]:
    """Return how many objects of an image are missed, and how many detections are wrong."""
    is_kept = errors.scores >= measured.best_score
    is_right = is_kept & (errors.kinds == ErrorKind.RIGHT)
    wrong = int((is_kept & ~is_right & ~errors.is_excused).sum())
    return len(errors.object_rows) - int(is_right.sum()), wrong


def _different_image(sides: Sequence[tuple[str, Measured]], image: int) -> DifferentImage:
    dataset = sides[0][1].dataset
    picture = Image.fromarray(dataset.read_image(image))
    scale = min(SIDE / max(picture.size), 1.0)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    data_url = jpeg_url(picture.resize((width, height)), quality=JPEG_QUALITY)
    of_each = []
    for name, measured in sides:
        errors = measured.errors[image]
        boxes = list(_boxes(measured, errors, scale))
        of_each.append(ImageOfOne(name, data_url, width, height, boxes, *_errors(measured, errors)))
    return DifferentImage(image_name(dataset.image_paths[image]), of_each)


def _boxes(measured: Measured, errors: ImageErrors, scale: float) -> Iterator[Box]:
    names, best = measured.class_names, measured.best_score
    is_right = (errors.kinds == ErrorKind.RIGHT) & (errors.scores >= best)
    missed = np.setdiff1d(np.arange(len(errors.object_rows)), errors.objects[is_right])
    truth = corners_of(measured.objects[errors.image].boxes[errors.object_rows])
    for row in missed.tolist():
        text = f"missed: {names[errors.object_labels[row]]}"
        yield box_of("truth", truth[row] * scale, text)
    found = measured.found_in.get(errors.image)
    if found is None:
        return
    boxes = corners_of(found.boxes[errors.rows])
    for row in np.flatnonzero((errors.scores >= best) & ~errors.is_excused).tolist():
        kind = "right" if is_right[row] else "found"
        text = f"{names[errors.labels[row]]} {errors.scores[row]:.2f}"
        yield box_of(kind, boxes[row] * scale, text)
