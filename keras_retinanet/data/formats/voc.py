"""Reader of Pascal VOC: ImageSets/Main/*.txt, JPEGImages and Annotations/*.xml."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.text_places import xml_object_place
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError


@dataclass(frozen=True)
class _Object:
    """An <object>, the `number`-th (from 1) of its file. box: x1, y1, x2, y2 in pixels."""

    path: Path
    number: int
    name: str
    box: tuple[float, float, float, float]
    is_difficult: bool

    @property
    def where(self) -> str:
        return xml_object_place(self.path, self.number)


def read_voc(root: Path, image_set: str, classes: Sequence[str] | None = None) -> RawAnnotations:
    """Read the images that ImageSets/Main/<image_set>.txt names.

    Pixel indices in VOC are 1-based and inclusive; boxes here begin at the left edge of the first
    and end at the right edge of the last pixel. Objects marked difficult are regions to ignore.

    Args:
        classes: names in the order of the labels; without it, the sorted names that occur in all of
            Annotations, so that every split has the same.

    Raises:
        DataError: a file is missing or malformed (with its line), or a class is not in `classes`.
    """
    listed = _read_image_set(root / "ImageSets" / "Main" / f"{image_set}.txt", root / "Annotations")
    if classes is None:
        classes = _class_names(root / "Annotations")
    label_of = {name: label for label, name in enumerate(classes)}

    findings: list[Finding] = []
    stems, paths, declared, objects, box_images = [], [], [], [], []
    for stem in listed:
        annotation = root / "Annotations" / f"{stem}.xml"
        tree = _parse(annotation)
        if tree is None:
            continue
        stems.append(stem)
        paths.append(str(_image_path(root / "JPEGImages", stem, tree.findtext("filename"))))
        declared.append(_declared_size(tree, annotation))
        for entry in _objects(tree, annotation, findings):
            if entry.name not in label_of:
                stop(
                    "object of an unknown class",
                    f"{entry.where}: {entry.name!r}",
                    f"{entry.where} has the unknown class {entry.name!r}; known: {list(classes)}",
                )
                continue
            objects.append(entry)
            box_images.append(len(stems) - 1)

    return RawAnnotations(
        source=f"{root} {image_set}",
        image_paths=paths,
        image_ids=stems,
        declared_sizes=declared,
        box_images=np.array(box_images, np.int64),
        boxes=np.array([o.box for o in objects], np.float64).reshape(-1, 4),
        labels=np.array([label_of[o.name] for o in objects], np.int32),
        is_ignored=np.array([o.is_difficult for o in objects], bool),
        areas=np.full(len(objects), np.nan),
        class_names=tuple(classes),
        category_ids=tuple(range(1, len(classes) + 1)),
        describe_box=lambda t: objects[t].where,
        findings=findings,
    )


def _class_names(folder: Path) -> list[str]:
    """Return the sorted names that occur in all of a folder's annotations."""
    files = sorted(folder.glob("*.xml"))
    # All splits of a folder ask the same: parsing is most of the time that reading them takes.
    state = hash((folder, *((f.name, f.stat().st_mtime_ns) for f in files)))
    if state in _names_found:
        return _names_found[state]
    trees = [_parse(f) for f in files]
    names = sorted(
        {
            node.text.strip()
            for tree in trees
            if tree is not None
            for node in tree.findall("object/name")
            if node.text
        }
    )
    _names_found.clear()
    if all(tree is not None for tree in trees):  # else every reading has to tell
        _names_found[state] = names
    return names


_names_found: dict[int, list[str]] = {}


def _read_image_set(path: Path, annotations: Path) -> list[str]:
    """Return the names in an image set; the second column of per-class sets is passed over."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the image set {path}: {error}") from error
    stems: dict[str, int] = {}  # with their lines
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        stem = _stem(line.strip(), annotations)
        if stem in stems:
            stop(
                "image listed more than once in an image set",
                f"{path}:{number}: {stem!r}",
                f"{path}:{number}: {stem!r} is listed more than once, first on line {stems[stem]}",
            )
        stems.setdefault(stem, number)
    return list(stems)


def _stem(line: str, annotations: Path) -> str:
    """Return the name on a line of an image set, which may be followed by -1, 0 or 1."""
    name, _, flag = line.rpartition(" ")
    if not name or flag not in ("-1", "0", "1") or (annotations / f"{line}.xml").is_file():
        return line  # "scan 1" may be a name
    return name.strip()


def _parse(path: Path) -> ElementTree.Element | None:
    """Return the root of an XML file; None, while faults are collected, if it cannot be read."""
    try:
        return ElementTree.parse(path).getroot()
    except OSError as error:
        stop(
            "annotation file that cannot be read",
            str(path),
            f"cannot read {path}: {error.strerror}",
        )
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        line = f":{error.position[0]}" if isinstance(error, ElementTree.ParseError) else ""
        stop(
            "annotation file that is not valid XML",
            f"{path}{line}: {error}",
            f"{path}{line}: not valid XML: {error}",
        )
    return None


def _image_path(folder: Path, stem: str, filename: str | None) -> Path:
    """Return the image of an annotation: by its own name, since many tools get <filename> wrong."""
    for suffix in IMAGE_SUFFIXES:
        for candidate in (folder / f"{stem}{suffix}", folder / f"{stem}{suffix.upper()}"):
            if candidate.is_file():
                return candidate
    return folder / (filename.strip() if filename else f"{stem}.jpg")


def _declared_size(tree: ElementTree.Element, path: Path) -> tuple[int, int] | None:
    """Return the annotated height and width, if they are given."""
    height, width = tree.findtext("size/height"), tree.findtext("size/width")
    if not height or not width:
        return None
    try:
        return int(float(height)), int(float(width))
    except (ValueError, OverflowError):
        stop(
            "image size that is no number",
            f"{path}: {width!r} x {height!r}",
            f"{path}: <size> needs numbers, not {width!r} x {height!r}",
        )
        return None


def _objects(tree: ElementTree.Element, path: Path, findings: list[Finding]) -> list[_Object]:
    """Return the objects of an annotation, without those that lack a class or a box."""
    objects = []
    for number, node in enumerate(tree.findall("object"), start=1):
        name = (node.findtext("name") or "").strip()
        try:
            corners = [
                float(node.findtext(f"bndbox/{key}") or "")
                for key in ("xmin", "ymin", "xmax", "ymax")
            ]
        except ValueError as error:
            where = xml_object_place(path, number)
            stop(
                "object without a box of four numbers",
                f"{where}: {error}",
                f"{where} needs a bndbox of numbers xmin, ymin, xmax, ymax: {error}",
            )
            continue
        if not name:
            where = xml_object_place(path, number)
            stop("object without a class", where, f"{where} has no <name>")
            continue
        xmin, ymin, xmax, ymax = corners
        if (xmax < xmin or ymax < ymin) and xmax != xmin and ymax != ymin:
            where = xml_object_place(path, number)
            findings.append(Finding("corners of a box are swapped", where, "box mended"))
            xmin, xmax = sorted((xmin, xmax))
            ymin, ymax = sorted((ymin, ymax))
        # A box from a pixel to itself is a slip of the mouse; as an inclusive range it would have
        # size 1, so its first pixel is left out.
        x1 = xmax if xmax == xmin else xmin - 1
        y1 = ymax if ymax == ymin else ymin - 1
        is_difficult = (node.findtext("difficult") or "").strip() == "1"
        objects.append(_Object(path, number, name, (x1, y1, xmax, ymax), is_difficult))
    return objects
