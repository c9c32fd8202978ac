"""Reader of "CVAT for images": one XML file of boxes and polygons in pixels."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.tools.labelled_images import (
    Box,
    LabelledImage,
    Labels,
    NotABox,
    around,
    number,
    read_objects,
    rotated,
    size_of,
    text,
)
from keras_retinanet.errors import DataError

# Parts of an <image> that have no place in it.
_WITHOUT_PLACE = ("tag", "attribute")


def read_cvat_images(path: Path) -> Labels:
    """Read a file of CVAT's; `subset` of an image tells its split.

    Boxes, rotated ones too, polygons, ellipses and masks are read; points and lines are dropped and
    counted.

    Raises:
        DataError: it cannot be read, or is not as CVAT writes it.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        line = f":{error.position[0]}" if isinstance(error, ElementTree.ParseError) else ""
        raise DataError(f"{path}{line}: not valid XML: {error}") from error
    if root.tag != "annotations":
        raise DataError(f"{path}: expected <annotations> of CVAT for images, not <{root.tag}>")
    if root.find("track") is not None:
        raise DataError(f"{path} is of CVAT for video: export it as CVAT for images")
    declared = [node.text for node in root.iterfind("meta//labels/label/name") if node.text]
    labels = Labels(class_names=list(dict.fromkeys(declared)))
    for place, node in enumerate(root.findall("image")):
        name = node.get("name")
        if not name:
            where = f"{path}: image {place + 1}"
            stop("image without a name", where, f"{where} has no name")
            continue
        shapes = [child for child in node if child.tag not in _WITHOUT_PLACE]
        labels.images.append(
            LabelledImage(
                name=name,
                objects=read_objects(shapes, _shape, f"{path}: {name}", labels.findings),
                size=size_of(node.get("height"), node.get("width")),
                subset=node.get("subset"),
            )
        )
    return labels


def _shape(node: Any) -> tuple[str, Box, bool]:
    name = text(node.get("label"))
    if node.tag == "box":
        x1, y1, x2, y2 = (number(node.get(key)) for key in ("xtl", "ytl", "xbr", "ybr"))
        degrees = number(node.get("rotation", 0))
        return name, _turned((x1, y1, x2, y2), degrees), bool(degrees)
    if node.tag == "polygon":
        points = [point.split(",") for point in text(node.get("points")).split(";")]
        return name, around(points), True
    if node.tag == "ellipse":
        x, y, rx, ry = (number(node.get(key)) for key in ("cx", "cy", "rx", "ry"))
        box = (x - rx, y - ry, x + rx, y + ry)
        return name, _turned(box, number(node.get("rotation", 0))), True
    if node.tag == "mask":
        x, y, width, height = (number(node.get(k)) for k in ("left", "top", "width", "height"))
        return name, (x, y, x + width, y + height), True
    raise NotABox(f"shape {node.tag}")


def _turned(box: Box, degrees: float) -> Box:
    """Return the box around one that is turned about its centre, as CVAT turns it."""
    if not degrees:
        return box
    x1, y1, x2, y2 = box
    around_origin = rotated(0, 0, x2 - x1, y2 - y1, degrees)
    middle = (around_origin[0] + around_origin[2]) / 2, (around_origin[1] + around_origin[3]) / 2
    dx, dy = (x1 + x2) / 2 - middle[0], (y1 + y2) / 2 - middle[1]
    return (
        around_origin[0] + dx,
        around_origin[1] + dy,
        around_origin[2] + dx,
        around_origin[3] + dy,
    )
