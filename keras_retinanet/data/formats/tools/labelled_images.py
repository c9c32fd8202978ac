"""What every reader here makes of a file: images with labelled boxes, and the way from them to
RawAnnotations."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.image_finder import ImageFinder
from keras_retinanet.data.formats.text_lines import read_lines
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

Box = tuple[float, float, float, float]

# What a value of another kind than expected makes a parser raise.
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


class NotABox(Exception):
    """A shape that encloses nothing, such as a line or a point; its argument says which."""


@dataclass(frozen=True)
class LabelledObject:
    """An object of a class: its box xyxy, and where it is written.

    Attributes:
        is_outline: the box is that around a polygon, an ellipse or the like.
    """

    name: str
    box: Box
    where: str
    is_outline: bool = False


@dataclass
class LabelledImage:
    """An image by the name that the file has for it.

    Attributes:
        size: height and width, where they are told.
        subset: what the file says of the split it belongs to.
    """

    name: str
    objects: list[LabelledObject] = field(default_factory=list)
    size: tuple[int, int] | None = None
    subset: str | None = None


@dataclass
class Labels:
    """The content of a file or folder of labels.

    Attributes:
        class_names: those that the file declares, in its order; empty where it declares none.
        is_normalized: boxes are shares of the image's width and height.
    """

    images: list[LabelledImage] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    is_normalized: bool = False


def read_objects(
    items: Any,
    parse: Callable[[Any], tuple[str, Box, bool]],
    place: str,
    findings: list[Finding],
) -> list[LabelledObject]:
    """Return the objects of a list; those that cannot be read stop, or are collected.

    Args:
        parse: returns the class, the box and whether it is an outline's, and raises one of
            UNREADABLE, or NotABox.
        place: file and image; the number of the object is added.
    """
    if not isinstance(items, list):
        stop("objects that are no list", place, f"{place}: expected a list of objects")
        return []
    objects = []
    for number, item in enumerate(items, start=1):
        where = f"{place}, object {number}"
        try:
            name, box, is_outline = parse(item)
            if not name.strip():
                raise ValueError("it has no class")
        except NotABox as error:
            findings.append(Finding(f"{error} encloses nothing", where, "box dropped"))
        except UNREADABLE as error:
            message = f"{where}: {told(error)}"
            stop("object that cannot be read", message, message)
        else:
            objects.append(LabelledObject(name.strip(), box, where, is_outline))
    return objects


def value_of(record: Any, keys: Sequence[str], place: str, findings: list[Finding]) -> Any:
    """Return the objects of an image, which are under one of `keys`; none, and noted, without it.

    Tools write an empty list for an image without objects: a key that is not there may be another
    tool's, or misspelt.
    """
    for key in keys:
        if key in record:
            return record[key]
    problem = f"image without {keys[0]!r}, taken for one without objects"
    findings.append(Finding(problem, place, "noted"))
    return []


def told(error: Exception) -> str:
    """Return an exception of UNREADABLE in words."""
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)


def number(value: Any) -> float:
    """Return a number that may be written as text.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a number, not {value!r}")
    return float(value)


def text(value: Any) -> str:
    """Return a text; raises ValueError if it is none, or has halves of characters."""
    if not isinstance(value, str):
        raise ValueError(f"expected a text, not {value!r}")
    value.encode()
    return value


def around(points: Iterable[Sequence[Any]]) -> Box:
    """Return the box around points (x, y); raises ValueError for less than two."""
    pairs = [(number(x), number(y)) for x, y in points]
    if len(pairs) < 2:
        raise ValueError(f"an outline needs points, not {len(pairs)}")
    xs, ys = zip(*pairs, strict=True)
    if any(math.isnan(value) for value in (*xs, *ys)):  # min and max pass NaN over
        return (math.nan,) * 4
    return min(xs), min(ys), max(xs), max(ys)


def rotated(x: float, y: float, width: float, height: float, degrees: float) -> Box:
    """Return the box around one that is turned clockwise about its top-left corner (x, y)."""
    angle = math.radians(degrees)
    right = (width * math.cos(angle), width * math.sin(angle))
    down = (-height * math.sin(angle), height * math.cos(angle))
    corners = [(0.0, 0.0), right, down, (right[0] + down[0], right[1] + down[1])]
    return around([(x + dx, y + dy) for dx, dy in corners])


def size_of(height: Any, width: Any) -> tuple[int, int] | None:
    """Return a declared size; None where it is none, which the image itself tells better."""
    try:
        size = int(number(height)), int(number(width))
    except UNREADABLE:
        return None
    return size if min(size) > 0 else None


def parsed_json(content: str) -> Any:
    """Return the value of a JSON text; ValueError, or RecursionError, if it is none."""
    value = json.loads(content)
    if "\\ud" in content.lower():  # halves of characters, as "\\ud800", are no text
        json.dumps(value, ensure_ascii=False).encode()
    return value


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: it cannot be read, or is no JSON (with the line).
    """
    try:
        return parsed_json("\n".join(read_lines(path)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON: {error}") from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error


def json_of_image(path: Path) -> Any:
    """Return the content of one of many JSON files; stop, or return None, if it is unreadable."""
    try:
        return read_json(path)
    except DataError as error:
        stop("annotation file that cannot be read", str(error), str(error))
        return None


def raw_annotations(
    labels: Labels, *, source: str, class_names: Sequence[str], finder: ImageFinder
) -> RawAnnotations:
    """Return the annotations of a split.

    Args:
        class_names: in the order of the labels.
    """
    label_of = {name: label for label, name in enumerate(class_names)}
    images = _joined(labels.images)
    objects = [found for image in images for found in image.objects]
    findings = list(labels.findings)
    outlines = [found for found in objects if found.is_outline]
    if outlines:
        problem = f"{len(outlines)} outlines or rotated boxes: the boxes around them are taken"
        findings.append(Finding(problem, outlines[0].where, "noted"))
    return RawAnnotations(
        source=source,
        image_paths=[finder.find(image.name) for image in images],
        image_ids=[image.name for image in images],
        declared_sizes=[image.size for image in images],
        box_images=np.repeat(np.arange(len(images)), [len(image.objects) for image in images]),
        boxes=np.array([found.box for found in objects], np.float64).reshape(-1, 4),
        labels=np.array([label_of[found.name] for found in objects], np.int32),
        is_ignored=np.zeros(len(objects), bool),
        areas=np.full(len(objects), np.nan),
        class_names=tuple(class_names),
        category_ids=tuple(range(1, len(class_names) + 1)),
        describe_box=lambda t: objects[t].where,
        findings=findings,
        boxes_normalized=labels.is_normalized,
    )


def all_class_names(every: Sequence[Labels]) -> list[str]:
    """Return the classes of all splits: those declared first, then the others, sorted."""
    declared = list(dict.fromkeys(name for labels in every for name in labels.class_names))
    found = Counter(o.name for labels in every for image in labels.images for o in image.objects)
    return declared + sorted(set(found) - set(declared))


def _joined(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Return the images, those of one name as one with all of their objects."""
    by_name: dict[str, LabelledImage] = {}
    for image in images:
        if image.name in by_name:
            by_name[image.name].objects.extend(image.objects)
        else:
            by_name[image.name] = LabelledImage(image.name, list(image.objects), image.size)
    return list(by_name.values())
