"""Reader of Supervisely: a folder img/ of images beside ann/, a JSON file for each."""

import base64
import io
import zlib
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

ANNOTATIONS, IMAGES = "ann", "img"
# Of a PNG: where its width and height are (third edition, 5.6).
_PNG_SIZE = slice(16, 24)
_MAX_MASK_BYTES = 1 << 16


def read_supervisely(folder: Path) -> Labels:
    """Read one data set of a project: the folder that holds ann/ and img/.

    Rectangles, polygons and masks are read; points and lines are dropped and counted.

    Raises:
        DataError: a file cannot be read, or is not as Supervisely writes it.
    """
    labels = Labels()
    for path in sorted((folder / ANNOTATIONS).glob("*.json")):
        content = json_of_image(path)
        if content is None:
            continue
        if not isinstance(content, dict) or "objects" not in content:
            stop("file without objects", str(path), f"{path}: expected size and objects")
            continue
        size = content.get("size")
        size = size if isinstance(size, dict) else {}
        labels.images.append(
            LabelledImage(
                name=f"{IMAGES}/{path.stem}",  # cat.jpg.json
                objects=read_objects(content["objects"], _object, str(path), labels.findings),
                size=size_of(size.get("height"), size.get("width")),
            )
        )
    return labels


def is_supervisely(folder: Path) -> bool:
    """Return whether a folder holds a data set of Supervisely's."""
    if not (folder / IMAGES).is_dir() or not (folder / ANNOTATIONS).is_dir():
        return False
    return any((folder / ANNOTATIONS).glob("*.json"))


def _object(found: Any) -> tuple[str, Box, bool]:
    name, kind = text(found["classTitle"]), found.get("geometryType") or found.get("shape")
    if kind in ("rectangle", "polygon"):
        return name, around(found["points"]["exterior"]), kind == "polygon"
    if kind == "bitmap":
        x, y = (number(value) for value in found["bitmap"]["origin"])
        width, height = _mask_size(text(found["bitmap"]["data"]))
        return name, (x, y, x + width, y + height), True
    raise NotABox(f"shape {kind}")


def _mask_size(data: str) -> tuple[int, int]:
    """Return the width and height of a mask: a PNG that is packed and written as text."""
    try:
        packed = zlib.decompressobj().decompress(base64.b64decode(data), _MAX_MASK_BYTES)
    except zlib.error as error:
        raise ValueError(f"its mask cannot be unpacked: {error}") from error
    head = io.BytesIO(packed).getvalue()[_PNG_SIZE]
    if not packed.startswith(b"\x89PNG") or len(head) != 8:
        raise ValueError("its mask is no PNG")
    return int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
