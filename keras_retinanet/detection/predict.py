"""Prediction on files: detections as JSON, and pictures of them."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.decoding import read_pixels
from keras_retinanet.data.images.inspection import inspect_images
from keras_retinanet.data.images.listing import list_images
from keras_retinanet.detection.detector import Detections, Detector
from keras_retinanet.detection.drawing import draw_detections
from keras_retinanet.detection.keras_model import detect_files
from keras_retinanet.errors import DataError
from keras_retinanet.models.retinanet import RetinaNet


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
    detections that score at least `min_score`, under the files' own names and folders.

    Raises:
        DataError: there is no image.
    """
    if not images.exists():
        raise DataError(f"there is no file or folder {images}")
    files = list_images(images)
    headers = inspect_images([str(file) for file in files])
    summary = PredictionSummary(
        findings=[
            Finding(header.fault, str(file), "image skipped")
            for file, header in zip(files, headers, strict=True)
            if header.fault
        ]
    )
    usable = [
        (file, header) for file, header in zip(files, headers, strict=True) if not header.fault
    ]
    if not usable:
        reasons = "; ".join(f"{f.where}: {f.problem}" for f in summary.findings)
        raise DataError(f"{images} holds no usable image" + (f" ({reasons})" if reasons else ""))

    root = images if images.is_dir() else images.parent
    pictures = output / "images"
    heights = np.array([header.height for _, header in usable], np.int32)
    widths = np.array([header.width for _, header in usable], np.int32)
    paths = [str(file) for file, _ in usable]
    entries: dict[int, dict] = {}
    for i, found in detect_files(model, paths, heights, widths, batch_size=batch_size):
        file = usable[i][0]
        entries[i] = {
            "file": str(file),
            "width": int(widths[i]),
            "height": int(heights[i]),
            "detections": _as_json(found, model.class_names),
        }
        # A suffix is added, so that cat.jpg and cat.png stay two pictures.
        picture = pictures / file.relative_to(root).with_name(f"{file.name}.jpg")
        picture.parent.mkdir(parents=True, exist_ok=True)
        _draw(file, found, model.class_names, min_score).save(picture, quality=92)
        summary.num_images += 1
        summary.num_detections += len(found["scores"])
    (output / "predictions.json").write_text(
        json.dumps([entries[i] for i in sorted(entries)], indent=1, ensure_ascii=False)
    )
    return summary


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
