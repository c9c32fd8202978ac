"""Reader of Hugging Face's image folders: metadata.jsonl with a line for each image."""

from pathlib import Path
from typing import Any

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.text_lines import read_lines
from keras_retinanet.data.formats.tools.labelled_images import (
    Box,
    LabelledImage,
    Labels,
    number,
    parsed_json,
    read_objects,
    size_of,
    value_of,
)

METADATA = "metadata.jsonl"
# Where the classes of `objects` are.
_CLASS_KEYS = ("categories", "category", "labels", "label", "classes", "class")


def read_hf_metadata(path: Path) -> Labels:
    """Read a file; `objects` holds bbox as x, y, width, height, and the classes beside it.

    Classes that are numbers have no names in such a file: the numbers are taken, and it is noted.

    Raises:
        DataError: it cannot be read, or a line is not of this kind.
    """
    labels = Labels()
    has_numbers = False
    for line_number, line in enumerate(read_lines(path), start=1):
        where = f"{path}:{line_number}"
        if not line.strip():
            continue
        try:
            record = parsed_json(line)
        except (ValueError, RecursionError) as error:
            stop("line that is not JSON", where, f"{where}: not valid JSON: {error}")
            continue
        name = record.get("file_name") if isinstance(record, dict) else None
        if not isinstance(name, str) or not name:
            stop("line that names no image", where, f"{where}: file_name names no image")
            continue
        items, has_number = _items(value_of(record, ("objects",), where, labels.findings), where)
        has_numbers |= has_number
        labels.images.append(
            LabelledImage(
                name=name,
                objects=read_objects(items, _object, where, labels.findings),
                size=size_of(record.get("height"), record.get("width")),
            )
        )
    if has_numbers:
        problem = "classes are numbers without names: the numbers are taken"
        labels.findings.append(Finding(problem, str(path), "noted"))
    return labels


def _items(objects: Any, where: str) -> tuple[list[Any], bool]:
    """Return (box, class) of each object, and whether classes are numbers."""
    if objects is None or objects == []:
        return [], False
    if not isinstance(objects, dict):
        stop("objects of an unknown kind", where, f"{where}: objects must hold bbox and categories")
        return [], False
    boxes = objects.get("bbox", objects.get("bboxes"))
    key = next((key for key in _CLASS_KEYS if key in objects), None)
    classes = objects.get(key) if key else None
    if not isinstance(boxes, list) or not isinstance(classes, list) or len(boxes) != len(classes):
        message = f"{where}: objects need bbox and {'/'.join(_CLASS_KEYS[:2])}, lists of one length"
        stop("objects without boxes or classes", where, message)
        return [], False
    has_numbers = any(isinstance(c, int) and not isinstance(c, bool) for c in classes)
    return list(zip(boxes, classes, strict=True)), has_numbers


def _object(item: Any) -> tuple[str, Box, bool]:
    box, name = item
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise ValueError(f"its class is {name!r}")
    x, y, width, height = (number(value) for value in box)
    return str(name), (x, y, x + width, y + height), False
