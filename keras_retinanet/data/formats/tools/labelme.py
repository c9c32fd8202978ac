"""Reader of labelme: a JSON file of shapes beside each image."""

import math
from pathlib import Path
from typing import Any

from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.tools.labelled_images import (
    Box,
    LabelledImage,
    Labels,
    NotABox,
    around,
    json_of_image,
    number,
    read_objects,
    size_of,
    text,
)


def read_labelme(folder: Path) -> Labels:
    """Read the JSON files of a folder and of the folders in it, or the one file.

    Rectangles, polygons, masks and circles are read; points and lines enclose nothing, and are
    dropped and counted.

    Raises:
        DataError: a file is not JSON; it, or a shape in it, is not as labelme writes them.
    """
    labels = Labels()
    for path in [folder] if folder.is_file() else _json_files(folder):
        content = json_of_image(path)
        if content is None:
            continue
        if not is_labelme(content):
            if path == folder:
                stop("file of another tool", str(path), f"{path} is no file of labelme")
            continue  # a file of something else beside them
        name = content.get("imagePath")
        if not isinstance(name, str) or not name:
            stop("file that names no image", str(path), f"{path}: imagePath names no image")
            continue
        labels.images.append(
            LabelledImage(
                name=_beside(path, folder, name),
                objects=read_objects(content["shapes"], _shape, str(path), labels.findings),
                size=size_of(content.get("imageHeight"), content.get("imageWidth")),
            )
        )
    return labels


def is_labelme(content: Any) -> bool:
    """Return whether the content of a JSON file is labelme's."""
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def _json_files(folder: Path) -> list[Path]:
    """Return the JSON files of a folder and of its subfolders."""
    return [path for place in (folder, *sorted(folder.iterdir())) for path in _json_files_in(place)]


def _json_files_in(folder: Path) -> list[Path]:
    if folder.name.startswith(".") or not folder.is_dir():
        return []
    return sorted(p for p in folder.glob("*.json") if not p.name.startswith("."))


def _beside(path: Path, folder: Path, name: str) -> str:
    """Return an image's name relative to the folder; labelme writes it relative to the file."""
    if folder == path or "\\" in name or "/" in name:
        return name
    return (path.parent.relative_to(folder) / name).as_posix()


def _shape(shape: Any) -> tuple[str, Box, bool]:
    name, kind, points = text(shape["label"]), shape.get("shape_type") or "polygon", shape["points"]
    if kind in ("rectangle", "mask"):
        return name, around(points), kind == "mask"
    if kind in ("polygon", "oriented_rectangle"):
        return name, around(points), True
    if kind == "circle":  # the centre, and a point on it
        (x, y), (x_on, y_on) = ((number(a), number(b)) for a, b in points)
        radius = math.hypot(x_on - x, y_on - y)
        return name, (x - radius, y - radius, x + radius, y + radius), True
    raise NotABox(f"shape {kind}")
