"""Prediction on files: detections as files of several kinds, and pictures of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.converted import convert_to_png
from keras_retinanet.data.images.decoding import read_pixels
from keras_retinanet.data.images.given_images import GivenImages, given_images
from keras_retinanet.data.images.inspection import ImageHeader, inspect_image, inspect_images
from keras_retinanet.detection.detector import Detections, Detector
from keras_retinanet.detection.drawing import draw_detections
from keras_retinanet.detection.prediction_files import (
    PICTURES,
    ImagePrediction,
    make_place,
    write_crops,
    write_predictions,
)
from keras_retinanet.detection.runtimes.keras_model import detect_files
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.models.retinanet import RetinaNet

# Of the files passed over, those that a message names where none is left.
_MAX_REASONS = 3
MIN_SCORE = 0.5


@dataclass
class PredictionSummary:
    """What `predict` did: numbers of images and detections, and the files left out."""

    num_images: int = 0
    num_detections: int = 0
    findings: list[Finding] = field(default_factory=list)


def predict(
    model: RetinaNet | Detector,
    images: str | Path | Sequence[str | Path],
    output: Path,
    *,
    lines: Iterable[str] = (),
    min_score: float = MIN_SCORE,
    keep_all: bool = False,
    classes: Sequence[str] = (),
    formats: Sequence[str] = ("json",),
    crops: bool = False,
    batch_size: int = 8,
) -> PredictionSummary:
    """Detect objects in image files, and write what was found.

    `output`/images holds the pictures, under the files' own names and folders; predictions.json
    every image (file, size, and for each detection its class, score and box xyxy in pixels of the
    upright image), and every file that was passed over. TIFF, AVIF and HEIC are converted on
    reading.

    Args:
        images, lines: files, folders, patterns and "-", see `given_images`.
        min_score: detections below it are left out, of files and pictures.
        keep_all: files, and not pictures, have those below it, too.
        classes: those of these names alone; none: all.
        formats: of `prediction_files.FORMATS`.
        crops: also write each object as a picture.

    Raises:
        DataError: there is no image.
        ConfigError: the model has no class of a name.
    """
    wanted = _labels(classes, model.class_names)
    given = given_images([images] if isinstance(images, str | Path) else images, lines)
    summary = PredictionSummary(findings=given.findings)
    with TemporaryDirectory(prefix="retinanet-converted-") as converted:
        usable = _usable_images(given, Path(converted))
        if not usable:
            reasons = "; ".join(f"{f.where}: {f.problem}" for f in summary.findings[:_MAX_REASONS])
            named = images if isinstance(images, str | Path) else ", ".join(map(str, images))
            raise DataError(f"{named} holds no usable image" + (f" ({reasons})" if reasons else ""))
        make_place(output)
        predictions: dict[int, ImagePrediction] = {}
        for i, found in _detections(model, usable, batch_size=batch_size):
            image, is_sure = usable[i], found["scores"] >= min_score
            is_wanted = np.isin(found["classes"], wanted)
            shown = _prediction(image, found, is_wanted & is_sure)
            kept = _prediction(image, found, is_wanted) if keep_all else shown
            picture = Image.fromarray(read_pixels(image.read_from))  # as it was looked at
            _draw(picture, shown, model.class_names, output / PICTURES)
            if crops:
                write_crops(shown, picture, model.class_names, output)
            predictions[i] = kept
            summary.num_images += 1
            summary.num_detections += len(kept.scores)
    in_order = [predictions[i] for i in sorted(predictions)]
    write_predictions(in_order, summary.findings, model.class_names, output, formats)
    return summary


@dataclass(frozen=True)
class _UsableImage:
    """An image of the user's, the file that is read for it, and what is known of that.

    Attributes:
        place: below the folder it was found in, different for each image.
    """

    file: Path
    read_from: Path
    header: ImageHeader
    place: Path = Path()


def _labels(classes: Sequence[str], class_names: Sequence[str]) -> list[int]:
    unknown = [name for name in classes if name not in class_names]
    if unknown:
        raise ConfigError(
            f"the model has no class {unknown[0]!r}: it knows {', '.join(class_names)}"
        )
    return [i for i, name in enumerate(class_names) if not classes or name in classes]


def _usable_images(given: GivenImages, converted: Path) -> list[_UsableImage]:
    """Return the images that can be read; what is passed over is added to the findings.

    Args:
        converted: a folder for what has to be converted to be read.
    """
    usable: list[_UsableImage] = []
    places: set[Path] = set()
    files = given.files
    for file, header in zip(files, inspect_images([str(path) for path in files]), strict=True):
        image = _UsableImage(file, file, header)
        if header.is_other_kind:
            image = _converted(file, converted / f"{len(usable)}.png", given.findings)
        if image.header.fault:
            given.findings.append(Finding(image.header.fault, str(file), "image skipped"))
            continue
        place = file.relative_to(given.roots[file])
        number = 1
        while place in places:  # of another folder
            number += 1
            place = Path(str(number), file.relative_to(given.roots[file]))
        places.add(place)
        usable.append(replace(image, place=place))
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


def _detections(
    model: RetinaNet | Detector, usable: Sequence[_UsableImage], *, batch_size: int
) -> Iterable[tuple[int, Detections]]:
    heights = np.array([image.header.height for image in usable], np.int32)
    widths = np.array([image.header.width for image in usable], np.int32)
    paths = [str(image.read_from) for image in usable]
    return detect_files(model, paths, heights, widths, batch_size=batch_size)


def _prediction(image: _UsableImage, found: Detections, kept: np.ndarray) -> ImagePrediction:
    return ImagePrediction(
        file=image.file,
        place=image.place,
        width=image.header.width,
        height=image.header.height,
        boxes=found["boxes"][kept],
        labels=found["classes"][kept],
        scores=found["scores"][kept],
    )


def _draw(
    image: Image.Image, shown: ImagePrediction, class_names: Sequence[str], folder: Path
) -> None:
    # A suffix is added, so that cat.jpg and cat.png stay two pictures.
    path = folder / shown.place.with_name(f"{shown.place.name}.jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = draw_detections(image, shown.boxes, shown.labels, class_names, shown.scores)
    picture.save(path, quality=92)
