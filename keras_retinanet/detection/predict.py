"""Prediction on files: detections as JSON, and pictures of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.converted import convert_to_png
from keras_retinanet.data.images.decoding import read_pixels
from keras_retinanet.data.images.inspection import ImageHeader, inspect_image, inspect_images
from keras_retinanet.data.images.listing import (
    IMAGE_SUFFIXES,
    OTHER_IMAGE_SUFFIXES,
    list_files,
    list_images,
)
from keras_retinanet.detection.detector import Detections, Detector
from keras_retinanet.detection.drawing import draw_detections
from keras_retinanet.detection.keras_model import detect_files
from keras_retinanet.errors import DataError
from keras_retinanet.models.retinanet import RetinaNet

# Of the files passed over, those that a message names where none is left.
_MAX_REASONS = 3


@dataclass
class PredictionSummary:
    """What `predict` did: numbers of images and detections, and the files left out."""

    num_images: int = 0
    num_detections: int = 0
    findings: list[Finding] = field(default_factory=list)


def predict(
    model: RetinaNet | Detector,
    images: Path,
    output: Path,
    *,
    min_score: float,
    batch_size: int = 8,
) -> PredictionSummary:
    """Detect objects in an image, or in all images of a folder, and write what was found.

    `output`/predictions.json holds every detection (file, size, and for each its class, score and
    box xyxy in pixels of the upright image); `output`/images holds the pictures, with the
    detections that score at least `min_score`, under the files' own names and folders. TIFF, AVIF
    and HEIC are converted on reading. Every file that is passed over is in the summary's findings.

    Raises:
        DataError: there is no image.
    """
    if not images.exists():
        raise DataError(f"there is no file or folder {images}")
    summary = PredictionSummary()
    with TemporaryDirectory(prefix="retinanet-converted-") as converted:
        usable = _usable_images(images, Path(converted), summary.findings)
        if not usable:
            reasons = "; ".join(f"{f.where}: {f.problem}" for f in summary.findings[:_MAX_REASONS])
            raise DataError(
                f"{images} holds no usable image" + (f" ({reasons})" if reasons else "")
            )
        _predict_usable(
            model, usable, images, output, summary, min_score=min_score, batch_size=batch_size
        )
    return summary


@dataclass(frozen=True)
class _UsableImage:
    """An image of the user's, the file that is read for it, and what is known of that."""

    file: Path
    read_from: Path
    header: ImageHeader


def _usable_images(images: Path, converted: Path, findings: list[Finding]) -> list[_UsableImage]:
    """Return the images that can be read; what is passed over is added to `findings`.

    Args:
        converted: a folder for what has to be converted to be read.
    """
    everything = [images] if images.is_file() else list_files(images)
    files = list_images(images, (*IMAGE_SUFFIXES, *OTHER_IMAGE_SUFFIXES))
    for file in sorted({*everything} - {*files}):
        findings.append(Finding("file that is no image by its name", str(file), "file passed over"))
    usable: list[_UsableImage] = []
    for file, header in zip(files, inspect_images([str(path) for path in files]), strict=True):
        image = _UsableImage(file, file, header)
        if header.is_other_kind:
            image = _converted(file, converted / f"{len(usable)}.png", findings)
        if image.header.fault:
            findings.append(Finding(image.header.fault, str(file), "image skipped"))
        else:
            usable.append(image)
    return usable


def _converted(file: Path, target: Path, findings: list[Finding]) -> _UsableImage:
    """Return an image of another kind with `target` as the file that is read for it."""
    try:
        num_pictures = convert_to_png(file, target)
    except DataError as error:
        return _UsableImage(file, file, ImageHeader(fault=str(error)))
    if num_pictures > 1:
        text = f"image of {num_pictures} pages or frames"
        findings.append(Finding(text, str(file), "the first is used"))
    return _UsableImage(file, target, inspect_image(str(target)))


def _predict_usable(
    model: RetinaNet | Detector,
    usable: Sequence[_UsableImage],
    images: Path,
    output: Path,
    summary: PredictionSummary,
    *,
    min_score: float,
    batch_size: int,
) -> None:
    """Write predictions.json and the pictures, and count them in `summary`."""
    root = images if images.is_dir() else images.parent
    pictures = output / "images"
    heights = np.array([image.header.height for image in usable], np.int32)
    widths = np.array([image.header.width for image in usable], np.int32)
    paths = [str(image.read_from) for image in usable]
    entries: dict[int, dict] = {}
    for i, found in detect_files(model, paths, heights, widths, batch_size=batch_size):
        file = usable[i].file
        entries[i] = {
            "file": str(file),
            "width": int(widths[i]),
            "height": int(heights[i]),
            "detections": _as_json(found, model.class_names),
        }
        # A suffix is added, so that cat.jpg and cat.png stay two pictures.
        picture = pictures / file.relative_to(root).with_name(f"{file.name}.jpg")
        picture.parent.mkdir(parents=True, exist_ok=True)
        _draw(usable[i].read_from, found, model.class_names, min_score).save(picture, quality=92)
        summary.num_images += 1
        summary.num_detections += len(found["scores"])
    (output / "predictions.json").write_text(
        json.dumps([entries[i] for i in sorted(entries)], indent=1, ensure_ascii=False)
    )


def _as_json(found: Detections, class_names: tuple[str, ...]) -> list[dict]:
    return [
        {
            "class": class_names[int(label)],
            "score": round(float(score), 6),
            "box": [round(float(v), 2) for v in box],
        }
        for box, score, label in zip(found["boxes"], found["scores"], found["classes"], strict=True)
    ]


def _draw(
    file: Path, found: Detections, class_names: tuple[str, ...], min_score: float
) -> Image.Image:
    shown = found["scores"] >= min_score
    return draw_detections(
        Image.fromarray(read_pixels(file)),  # the pixels that were looked at
        found["boxes"][shown],
        found["classes"][shown],
        class_names,
        found["scores"][shown],
    )
