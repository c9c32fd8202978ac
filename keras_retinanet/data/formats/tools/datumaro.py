"""Reader of Datumaro: a JSON file of items for each split."""

from pathlib import Path
from typing import Any

from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.tools.labelled_images import (
    UNREADABLE,
    Box,
    LabelledImage,
    Labels,
    NotABox,
    around,
    number,
    read_json,
    read_objects,
    size_of,
    text,
    told,
    value_of,
)
from keras_retinanet.errors import DataError

# Annotations of these types have no place in the image.
_WITHOUT_PLACE = ("label", "caption")


def read_datumaro(path: Path) -> Labels:
    """Read a file of Datumaro. Boxes, polygons and ellipses are read, other shapes are counted.

    Raises:
        DataError: it cannot be read, or is not as Datumaro writes it.
    """
    content = read_json(path)
    if not is_datumaro(content):
        raise DataError(f"{path} is no file of Datumaro: expected categories and items")
    try:
        names = [text(entry["name"]) for entry in content["categories"]["label"]["labels"]]
        items = list(content["items"])
    except UNREADABLE as error:
        raise DataError(f"{path}: categories.label.labels and items: {told(error)}") from error
    labels = Labels(class_names=list(dict.fromkeys(names)))
    for place, item in enumerate(items):
        where = f"{path}: item {place + 1}"
        image = item.get("image") if isinstance(item, dict) else None
        image = image if isinstance(image, dict) else {}
        name = image.get("path") or (item.get("id") if isinstance(item, dict) else None)
        if not isinstance(name, str) or not name:
            stop("item that names no image", where, f"{where} has neither image.path nor id")
            continue
        annotations = value_of(item, ("annotations",), where, labels.findings)
        if isinstance(annotations, list):
            annotations = [a for a in annotations if not _is_without_place(a)]
        size = image.get("size")
        labels.images.append(
            LabelledImage(
                name=name,
                objects=read_objects(
                    annotations, lambda a: _annotation(a, names), f"{path}: {name}", labels.findings
                ),
                size=size_of(*size) if isinstance(size, list) and len(size) == 2 else None,
            )
        )
    return labels


def is_datumaro(content: Any) -> bool:
    """Return whether the content of a JSON file is Datumaro's."""
    return isinstance(content, dict) and "items" in content and "categories" in content


def _is_without_place(annotation: Any) -> bool:
    return isinstance(annotation, dict) and annotation.get("type") in _WITHOUT_PLACE


def _annotation(annotation: Any, names: list[str]) -> tuple[str, Box, bool]:
    kind, label = annotation["type"], annotation["label_id"]
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(names):
        raise ValueError(f"its label_id is {label!r}, and there are {len(names)} labels")
    if kind == "bbox":
        x, y, width, height = (number(value) for value in annotation["bbox"])
        return names[label], (x, y, x + width, y + height), False
    if kind == "polygon":
        points = annotation["points"]
        return names[label], around(list(zip(points[::2], points[1::2], strict=True))), True
    if kind == "ellipse":
        x1, y1, x2, y2 = (number(value) for value in annotation["points"])
        return names[label], (x1, y1, x2, y2), True
    raise NotABox(f"shape {kind}")
