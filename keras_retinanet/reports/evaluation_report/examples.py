"""The errors that are worth a look, as pictures: what was found, and what is labelled there."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from keras_retinanet.data.images.address import image_name
from keras_retinanet.errors import DataError
from keras_retinanet.evaluation.analysis.image_errors import NO_OBJECT, ErrorKind, ImageErrors
from keras_retinanet.reports.evaluation_report.advice import is_suspect
from keras_retinanet.reports.evaluation_report.measured import Measured, size_of
from keras_retinanet.reports.pages.page import jpeg_url

# Pictures of each kind, the most confident errors and the largest misses; and their longer side.
MAX_OF_A_KIND, SIDE = 16, 260
JPEG_QUALITY = 80
# A picture shows this many times the box, and no less than so many pixels.
CONTEXT, MIN_SHOWN = 2.5, 96
SUSPECT = "label suspect"
_KINDS = {
    ErrorKind.MISSED: "missed",
    ErrorKind.BACKGROUND: "false alarm",
    ErrorKind.CLASS: "wrong class",
    ErrorKind.LOCATION: "box too far off",
    ErrorKind.BOTH: "class and box wrong",
    ErrorKind.DUPLICATE: "found twice",
}


@dataclass(frozen=True)
class Box:
    """A box in a picture, xyxy in its pixels; `kind` is "truth" or "found"."""

    kind: str
    x1: float
    y1: float
    x2: float
    y2: float
    text: str

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1


@dataclass(frozen=True)
class Example:
    """A picture of an error, cut out around it.

    Attributes:
        kind: what is wrong, in words.
        class_name: of the detection, or of the missed object.
        size: COCO's name of its size.
        score: of the detection; None of a missed object.
        image: the file's name.
        data_url: the picture, `width` x `height` pixels.
        boxes: what is to be drawn on it.
        text: what is to be read below it.
    """

    kind: str
    class_name: str
    size: str
    score: float | None
    image: str
    data_url: str
    width: int
    height: int
    boxes: list[Box]
    text: str


@dataclass(frozen=True)
class _Place:
    """An error: a detection (row among those by score) or an object of an image."""

    kind: str
    errors: ImageErrors
    row: int
    is_object: bool
    weight: float


def pick_examples(measured: Measured) -> list[Example]:
    """Return examples of each kind; those of images that cannot be read are left out."""
    by_kind: dict[str, list[_Place]] = {}
    for place in _places(measured):
        by_kind.setdefault(place.kind, []).append(place)
    by_image: dict[int, list[tuple[int, _Place]]] = {}
    chosen = (
        place
        for kind in (*_KINDS.values(), SUSPECT)
        for place in sorted(by_kind.get(kind, []), key=lambda p: -p.weight)[:MAX_OF_A_KIND]
    )
    for rank, place in enumerate(chosen):
        by_image.setdefault(place.errors.image, []).append((rank, place))

    def of_image(image: int) -> list[tuple[int, Example]]:
        try:
            pixels = measured.dataset.read_image(image)
        except DataError:  # the evaluation has told of it
            return []
        return [(rank, _example(measured, pixels, place)) for rank, place in by_image[image]]

    # Decoding and scaling leave Python free, and each image is decoded once.
    with ThreadPoolExecutor() as threads:
        examples = dict(pair for pairs in threads.map(of_image, by_image) for pair in pairs)
    return [examples[rank] for rank in sorted(examples)]


def _places(measured: Measured) -> Iterator[_Place]:
    for errors, objects in zip(measured.errors, measured.objects, strict=True):
        suspects = is_suspect(errors)
        for row, kind in enumerate(errors.kinds.tolist()):
            if kind == ErrorKind.RIGHT or errors.is_excused[row]:
                continue
            score = float(errors.scores[row])
            yield _Place(_KINDS[ErrorKind(kind)], errors, row, False, score)
            if suspects[row]:
                yield _Place(SUSPECT, errors, row, False, score)
        for row in np.flatnonzero(errors.is_missed).tolist():
            area = float(objects.areas[errors.object_rows[row]])
            yield _Place(_KINDS[ErrorKind.MISSED], errors, row, True, area)


def _example(measured: Measured, pixels: np.ndarray, place: _Place) -> Example:
    errors = place.errors
    objects, found = measured.objects[errors.image], measured.found_in.get(errors.image)
    names = measured.class_names
    truth = corners_of(objects.boxes[errors.object_rows])
    detections = corners_of(found.boxes[errors.rows]) if found is not None else truth[:0]
    box = truth[place.row] if place.is_object else detections[place.row]
    about = NO_OBJECT if place.is_object else int(errors.objects[place.row])
    around = box if about == NO_OBJECT else _union(box, truth[about])
    left, top, right, bottom = _window(around, pixels.shape[1], pixels.shape[0])
    picture = Image.fromarray(pixels[top:bottom, left:right])
    scale = min(SIDE / max(picture.size), 4.0)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    shift, inside = np.array([left, top] * 2), (left, top, right, bottom)
    boxes = [
        box_of("truth", (b - shift) * scale, names[label])
        for b, label in zip(truth, errors.object_labels, strict=True)
        if _touches(b, inside)
    ]
    score = None
    if not place.is_object:
        score = float(errors.scores[place.row])
        text = f"{names[errors.labels[place.row]]} {score:.2f}"
        boxes.append(box_of("found", (box - shift) * scale, text))
    label = errors.object_labels[place.row] if place.is_object else errors.labels[place.row]
    return Example(
        kind=place.kind,
        class_name=names[int(label)],
        size=size_of(float((box[2] - box[0]) * (box[3] - box[1]))),
        score=score,
        image=image_name(measured.dataset.image_paths[errors.image]),
        data_url=jpeg_url(picture.resize(size, Image.Resampling.BILINEAR), quality=JPEG_QUALITY),
        width=size[0],
        height=size[1],
        boxes=boxes,
        text=_text(place, about, names),
    )


def box_of(kind: str, corners: np.ndarray, text: str) -> Box:
    """Return a box whose corners are xyxy [4]."""
    x1, y1, x2, y2 = corners.tolist()
    return Box(kind, x1, y1, x2, y2, text)


def _text(place: _Place, about: int, names: Sequence[str]) -> str:
    errors = place.errors
    if place.is_object:
        return f"{names[errors.object_labels[place.row]]}: nothing found it"
    text = f"{names[errors.labels[place.row]]}, score {errors.scores[place.row]:.2f}"
    return text if about == NO_OBJECT else f"{text}; labelled {names[errors.object_labels[about]]}"


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """Return boxes xywh [n, 4] as xyxy."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _union(box: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.concatenate([np.minimum(box[:2], other[:2]), np.maximum(box[2:], other[2:])])


def _window(box: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of an image to show around a box: left, top, right, bottom."""
    side = max(CONTEXT * float(max(box[2] - box[0], box[3] - box[1])), MIN_SHOWN)
    centre = (box[:2] + box[2:]) / 2
    left, top = (max(0, int(c - side / 2)) for c in centre)
    right, bottom = min(width, int(centre[0] + side / 2)), min(height, int(centre[1] + side / 2))
    return min(left, width - 1), min(top, height - 1), max(right, left + 1), max(bottom, top + 1)


def _touches(box: np.ndarray, window: tuple[int, int, int, int]) -> bool:
    left, top, right, bottom = window
    return bool(box[0] < right and box[2] > left and box[1] < bottom and box[3] > top)
