"""Reader of labelme: a JSON file of shapes beside each image."""

import math
from pathlib import Path, PurePath
from typing import Any

from keras_retinanet.data.dataset import Finding
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
from keras_retinanet.data.images.listing import list_images


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
            what = "JSON file without 'shapes' and 'imagePath', which labelme writes"
            if path == folder or _is_half(content):
                stop(what, str(path), f"{path} is a {what}")
            else:
                labels.findings.append(Finding(what, str(path), "file skipped"))
            continue
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
    labels.findings += _images_without_a_file(folder, labels.images)
    return labels


def is_labelme(content: Any) -> bool:
    """Return whether the content of a JSON file is labelme's."""
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def _is_half(content: Any) -> bool:
    """Return whether one of the two is there: such a file is damaged, and not another tool's."""
    return isinstance(content, dict) and ("shapes" in content or "imagePath" in content)


def _images_without_a_file(folder: Path, images: list[LabelledImage]) -> list[Finding]:
    """Return the images beside the files that none of them names."""
    known = {PurePath(image.name.replace("\\", "/")).name.lower() for image in images}
    return [
        Finding("image without a JSON file", str(path), "image skipped")
        for path in (list_images(folder) if folder.is_dir() else [])
        if path.name.lower() not in known
    ]


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
