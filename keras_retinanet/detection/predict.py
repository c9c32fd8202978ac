"""Prediction on images and videos: detections as files of several kinds, and pictures of them."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.decoding import read_pixels
from keras_retinanet.data.images.given_images import PASSED_OVER, given_images
from keras_retinanet.detection.detector import Detections, Detector
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.drawing import draw_detections
from keras_retinanet.detection.prediction_files import (
    PICTURES,
    TEXT_NAMES,
    ImagePrediction,
    Wanted,
    make_place,
    write_crops,
    write_predictions,
)
from keras_retinanet.detection.tiled_detector import detector_for
from keras_retinanet.detection.usable_images import (
    Usable,
    UsableImage,
    UsableVideo,
    usable_images,
)
from keras_retinanet.detection.video.frames import Pace
from keras_retinanet.detection.video.predict_video import VideoPrediction, predict_video
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.buckets.outgoing import outgoing, send

# Of the files passed over, those that a message names where none is left.
_MAX_REASONS = 3
MIN_SCORE = 0.5
EVERY_FRAME = Pace()


@dataclass
class PredictionSummary:
    """What `predict` did: numbers of images and detections, videos, and the files left out."""

    num_images: int = 0
    num_detections: int = 0
    videos: list[VideoPrediction] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def predict(
    model: RetinaNet | Detector,
    images: str | Path | Sequence[str | Path],
    output: Path,
    *,
    lines: Iterable[str] = (),
    min_score: float | None = None,
    keep_all: bool = False,
    classes: Sequence[str] = (),
    formats: Sequence[str] = ("json",),
    crops: bool = False,
    batch_size: int = 8,
    pace: Pace = EVERY_FRAME,
) -> PredictionSummary:
    """Detect objects in images and videos, and write what was found.

    `output`/images holds the pictures, under the files' own names and folders; predictions.json
    every image (file, size, and for each detection its class, score and box xyxy in pixels of the
    upright image), every video, and every file that was passed over. TIFF, AVIF and HEIC are
    converted on reading. `output`/videos holds, of each video, a line of JSON for each frame and
    the video with boxes.

    Args:
        images, lines: files, folders, patterns, URLs, cameras and "-", see `given_images`.
        min_score: detections below it are left out, of files and pictures. By default the model's
            own `inference.thresholds`, of each class, or else MIN_SCORE.
        keep_all: files, and not pictures, have those below it, too.
        classes: those of these names alone; none: all.
        formats: of `prediction_files.FORMATS`; of images alone.
        crops: also write each object as a picture; of images alone.
        pace: which frames of a video are looked at.

    Raises:
        DataError: there is no image and no video.
        ConfigError: the model has no class of a name.
        BucketError: what is in a bucket cannot be read or written.
    """
    output = outgoing(output, last=TEXT_NAMES)
    detector = detector_for(model)
    wanted = what_is_wanted(detector, min_score=min_score, keep_all=keep_all, classes=classes)
    given = given_images([images] if isinstance(images, str | Path) else images, lines)
    summary = PredictionSummary(findings=given.findings)
    with TemporaryDirectory(prefix="retinanet-fetched-") as folder:
        usable = usable_images(given, Path(folder))
        refuse_nothing(usable, images, summary.findings)
        # Once there is something to write: a video may turn out to be none.
        begin = functools.cache(functools.partial(make_place, output))
        predictions: list[ImagePrediction] = []
        if usable.images:
            begin()
            found = predict_images(
                detector, usable.images, output, wanted, crops=crops, batch_size=batch_size
            )
            predictions = [prediction for _, prediction in sorted(found, key=itemgetter(0))]
        for video in usable.videos:
            _predict_video(detector, video, output, begin, wanted, pace, batch_size, summary)
    if not predictions and not summary.videos:
        refuse_nothing(Usable(), images, summary.findings)
    summary.num_images = len(predictions)
    summary.num_detections = sum(len(each.scores) for each in predictions)
    summary.num_detections += sum(video.num_detections for video in summary.videos)
    write_predictions(
        predictions,
        summary.findings,
        detector.class_names,
        output,
        formats,
        videos=[video.as_json(output) for video in summary.videos],
    )
    send(output)
    return summary


def shown_from(detector: Detector | DetectorSettings) -> float | tuple[float, ...]:
    """Return the score from which detections are shown by default, or that of each class."""
    thresholds = detector.inference.thresholds
    return MIN_SCORE if thresholds is None else thresholds


def what_is_wanted(
    detector: Detector | DetectorSettings,
    *,
    min_score: float | None,
    keep_all: bool,
    classes: Sequence[str],
) -> Wanted:
    """Return which detections are shown and kept, see `predict`.

    Raises:
        ConfigError: the model has no class of a name.
    """
    limits = shown_from(detector) if min_score is None else min_score
    return Wanted(limits, _labels(classes, detector.class_names), keep_all)


def _labels(classes: Sequence[str], class_names: Sequence[str]) -> list[int]:
    unknown = [name for name in classes if name not in class_names]
    if unknown:
        raise ConfigError(
            f"the model has no class {unknown[0]!r}: it knows {', '.join(class_names)}"
        )
    return [i for i, name in enumerate(class_names) if not classes or name in classes]


def refuse_nothing(usable: Usable, images: object, findings: Sequence[Finding]) -> None:
    """Raise DataError if nothing is left to look at."""
    if usable.images or usable.videos:
        return
    reasons = "; ".join(f"{f.where}: {f.problem}" for f in findings[:_MAX_REASONS])
    named = ", ".join(map(str, images)) if isinstance(images, list | tuple) else images
    raise DataError(f"{named} holds no usable image" + (f" ({reasons})" if reasons else ""))


def predict_images(
    detector: Detector,
    usable: Sequence[UsableImage],
    output: Path,
    wanted: Wanted,
    *,
    crops: bool,
    batch_size: int,
) -> Iterator[tuple[int, ImagePrediction]]:
    """Write pictures; yield what files are to hold of each image, with its place in `usable`, in
    the order of `detect_files`."""
    heights, widths = sides_of(usable)
    paths = [str(image.read_from) for image in usable]
    for i, found in detector.detect_files(paths, heights, widths, batch_size=batch_size):
        image, (is_shown, is_kept) = usable[i], wanted.masks(found)
        shown = _prediction(image, found, is_shown)
        picture = Image.fromarray(read_pixels(image.read_from))  # as it was looked at
        _draw(picture, shown, detector.class_names, output / PICTURES)
        if crops:
            write_crops(shown, picture, detector.class_names, output)
        yield i, _prediction(image, found, is_kept)


def sides_of(usable: Sequence[UsableImage]) -> tuple[np.ndarray, np.ndarray]:
    """Return the images' heights and widths, each int32 [N]."""
    sides = [(image.header.height, image.header.width) for image in usable]
    heights, widths = np.array(sides, np.int32).reshape(-1, 2).T
    return heights, widths


def _predict_video(
    detector: Detector,
    video: UsableVideo,
    output: Path,
    begin: Callable[[], None],
    wanted: Wanted,
    pace: Pace,
    batch_size: int,
    summary: PredictionSummary,
) -> None:
    """Look at a video; one that gives no frame is passed over."""
    done = predict_video(
        detector,
        video.source,
        video.name,
        video.place,
        output,
        begin=begin,
        wanted=wanted,
        pace=pace,
        batch_size=batch_size,
        is_live=video.is_live,
    )
    if done.num_frames:
        summary.videos.append(done)
    if done.fault is not None:
        action = f"{done.num_frames} frames used" if done.num_frames else PASSED_OVER
        summary.findings.append(Finding(done.fault, video.name, action))


def _prediction(image: UsableImage, found: Detections, kept: np.ndarray) -> ImagePrediction:
    return ImagePrediction(
        file=image.name,
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
