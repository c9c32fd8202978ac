"""One annotation in Pascal VOC's XML, whatever tool wrote it: its size, its objects, its faults."""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.text_places import xml_object_place

Element = ElementTree.Element

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_BOX_TAGS = ("bndbox", "bbox", "box")
_SHAPE_TAGS = ("robndbox", "polygon")
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.-]+)["'][^>]*\?>""")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")


@dataclass(frozen=True)
class VocObject:
    """An object, the `number`-th (from 1) of its file.

    Attributes:
        corners: xmin, ymin, xmax, ymax, as they are written.
        is_shape: they are those of the box around a polygon or a rotated box.
    """

    path: Path
    number: int
    name: str
    corners: tuple[float, float, float, float]
    is_difficult: bool
    is_shape: bool = False

    @property
    def where(self) -> str:
        return xml_object_place(self.path, self.number)


@dataclass
class VocFile:
    """What an XML file says.

    Attributes:
        names: classes, also of objects without a box.
        faults: (problem, where, message) of what cannot be used.
        is_readable: it is an annotation of an image.
    """

    filename: str | None = None
    size: tuple[int, int] | None = None
    objects: list[VocObject] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    faults: list[tuple[str, str, str]] = field(default_factory=list)
    is_readable: bool = False

    def stop_at_faults(self) -> None:
        """Raise DataError, or note all faults while they are collected."""
        for problem, where, message in self.faults:
            stop(problem, where, message)


def read_voc_file(path: Path) -> VocFile:
    """Return what an XML file says, with its faults."""
    result = VocFile()
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # a name with a zero in it
        text = f"cannot read {path}: {error.strerror if isinstance(error, OSError) else error}"
        result.faults.append(("annotation file that cannot be read", str(path), text))
        return result
    try:
        root = _parse(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        line = f":{error.position[0]}" if isinstance(error, ElementTree.ParseError) else ""
        reason = str(error) if content.strip() else "the file is empty: annotate the image again"
        text = f"{path}{line}: not valid XML: {reason}"
        result.faults.append(
            ("annotation file that is not valid XML", f"{path}{line}: {reason}", text)
        )
        return result
    # Nearly all files are as VOC has them, which is told by every box being understood.
    nodes = root.findall("object")
    counts = {content.count(b"bndbox>"), content.lower().count(b"bndbox>"), 2 * len(nodes)}
    if root.tag != "annotation" or len(counts) > 1:
        _simplify(root)
        nodes = list(_object_nodes(root))
    result.filename = root.findtext("filename")
    _read_size(root, path, result)
    for number, node in enumerate(nodes, start=1):
        _read_object(node, path, number, result)
    if not nodes and not _is_annotation(root, content):
        text = (
            f"{path}: <{root.tag}> is no annotation of an image as Pascal VOC has it: "
            "<annotation> with <filename>, <size> and an <object> with <bndbox> for each object"
        )
        result.faults.append(("XML file that is no annotation in VOC's format", str(path), text))
        return result
    result.is_readable = True
    return result


def _parse(content: bytes) -> Element:
    """Return the root of XML, also in an encoding that the parser lacks or that is not as named."""
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        named = _ENCODING.match(content.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b""))
        candidates = [named[1].decode()] if named else []
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            candidates = ["utf-16"]
        # Tools save text as UTF-8 whose first line says UTF-16.
        for encoding in [*candidates, "utf-8-sig"]:
            try:
                text = _DECLARATION.sub("", content.decode(encoding), count=1)
                return ElementTree.fromstring(text)
            except (ElementTree.ParseError, ValueError, LookupError):
                continue
        raise error


def _simplify(root: Element) -> None:
    """Take namespaces and capital letters out of the names of elements."""
    for node in root.iter():
        if isinstance(node.tag, str):
            node.tag = node.tag.rpartition("}")[2].lower()


def _object_nodes(node: Element) -> Iterator[Element]:
    """Yield the objects, wherever they are: parts of an object are none."""
    for child in node:
        if child.tag == "object" or any(child.find(tag) is not None for tag in _BOX_TAGS):
            yield child
        else:
            yield from _object_nodes(child)


def _is_annotation(root: Element, content: bytes) -> bool:
    """Return whether a file without objects is that of an image without objects."""
    text = content.replace(b"\0", b"").lower()
    is_known = root.find("filename") is not None or root.find("size") is not None
    is_known = is_known or (root.tag == "annotation" and not len(root))
    return is_known and b"xmin" not in text and b"bndbox" not in text


def _read_size(root: Element, path: Path, result: VocFile) -> None:
    """Read the annotated height and width, if they are given; 0 gives none."""
    height, width = root.findtext("size/height"), root.findtext("size/width")
    if not (height and height.strip() and width and width.strip()):
        return
    try:
        size = int(float(height)), int(float(width))
    except (ValueError, OverflowError):
        where = f"{path}: {width!r} x {height!r}"
        text = f"{path}: <size> needs numbers, not {width!r} x {height!r}"
        result.faults.append(("image size that is no number", where, text))
        return
    result.size = size if min(size) > 0 else None


def _read_object(node: Element, path: Path, number: int, result: VocFile) -> None:
    name = (node.findtext("name") or "").strip()
    if name:
        result.names.add(name)
    try:
        corners, is_shape = _corners(node)
    except ValueError as error:
        where = xml_object_place(path, number)
        text = f"{where} needs a bndbox of numbers xmin, ymin, xmax, ymax: {error}"
        result.faults.append(("object without a box of four numbers", f"{where}: {error}", text))
        return
    if not name:
        where = xml_object_place(path, number)
        result.faults.append(("object without a class", where, f"{where} has no <name>"))
        return
    is_difficult = (node.findtext("difficult") or "").strip().lower() in ("1", "true")
    result.objects.append(VocObject(path, number, name, corners, is_difficult, is_shape))


def _corners(node: Element) -> tuple[tuple[float, float, float, float], bool]:
    """Return the corners of an object, and whether they are those around another shape.

    Raises:
        ValueError: it has no box of numbers.
    """
    box = next((found for tag in _BOX_TAGS if (found := node.find(tag)) is not None), None)
    if box is None:
        for tag in _SHAPE_TAGS:
            shape = node.find(tag)
            if shape is not None:
                return _around(tag, shape), True
    if box is None:
        raise ValueError("it has none")
    xmin, ymin, xmax, ymax = (float(box.findtext(key) or box.get(key) or "") for key in _CORNERS)
    return (xmin, ymin, xmax, ymax), False


def _around(tag: str, shape: Element) -> tuple[float, float, float, float]:
    """Return the box around a rotated box or a polygon."""
    if tag == "robndbox":
        cx, cy, w, h, angle = (
            float(shape.findtext(key) or "") for key in ("cx", "cy", "w", "h", "angle")
        )
        if not math.isfinite(angle):
            raise ValueError(f"the angle {angle} is none")
        across = (abs(w * math.cos(angle)) + abs(h * math.sin(angle))) / 2
        down = (abs(w * math.sin(angle)) + abs(h * math.cos(angle))) / 2
        return cx - across, cy - down, cx + across, cy + down
    points: dict[str, list[float]] = {"x": [], "y": []}
    for node in shape.iter():
        if re.fullmatch(r"[xy]\d*", str(node.tag)):
            points[node.tag[0]].append(float(node.text or ""))
    xs, ys = points["x"], points["y"]
    if len(xs) < 2 or len(xs) != len(ys) or any(v != v for v in xs + ys):
        raise ValueError("a polygon needs points x1, y1, x2, y2, ...")
    return min(xs), min(ys), max(xs), max(ys)
