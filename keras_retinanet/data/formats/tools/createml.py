"""Reader of CreateML: one JSON list of images with the centres and sizes of their boxes."""

from pathlib import Path
from typing import Any

from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.tools.labelled_images import (
    Box,
    LabelledImage,
    Labels,
    number,
    read_json,
    read_objects,
    text,
    value_of,
)
from keras_retinanet.errors import DataError


def read_createml(path: Path) -> Labels:
    """Read a file of CreateML.

    Raises:
        DataError: it cannot be read, or is not as CreateML writes it.
    """
    content = read_json(path)
    if not is_createml(content):
        raise DataError(f"{path} is no file of CreateML: expected a list of image and annotations")
    labels = Labels()
    for place, entry in enumerate(content):
        where = f"{path}: entry {place + 1}"
        name = _name(entry)
        if name is None:
            stop("entry that names no image", where, f"{where} has no 'image' or 'imagefilename'")
            continue
        objects = read_objects(
            value_of(entry, ("annotations", "annotation"), where, labels.findings),
            _annotation,
            f"{path}: {name}",
            labels.findings,
        )
        labels.images.append(LabelledImage(name, objects))
    return labels


def is_createml(content: Any) -> bool:
    """Return whether the content of a JSON file is CreateML's."""
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    return _name(content[0]) is not None and (
        "annotations" in content[0] or "annotation" in content[0]
    )


def _name(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return None
    name = entry.get("image", entry.get("imagefilename"))
    return name if isinstance(name, str) and name else None


def _annotation(annotation: Any) -> tuple[str, Box, bool]:
    place = annotation["coordinates"]
    x, y, width, height = (number(place[key]) for key in ("x", "y", "width", "height"))
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return text(annotation["label"]), box, False
