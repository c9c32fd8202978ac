"""Reader of KITTI's object detection labels: image_2/*.png and label_2/*.txt."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_retinanet.data.cleaning import mend_swapped_corners
from keras_retinanet.data.dataset import ANY_CLASS, Finding
from keras_retinanet.data.formats.text_lines import read_lines, read_names
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

DONT_CARE = "DontCare"
# A row is type, truncated, occluded, alpha, x1, y1, x2, y2, seven of 3-D, and in results a score.
_CORNERS = slice(4, 8)
_NUM_CELLS = (15, 16)


@dataclass(frozen=True)
class _Object:
    """A row of a label file. corners: x1, y1, x2, y2 in pixels."""

    where: str
    name: str
    corners: tuple[float, ...]


def read_kitti(
    folder: Path,
    image_list: Path | None = None,
    classes: Sequence[str] | None = None,
    *,
    ignored: Sequence[str] = (DONT_CARE,),
) -> RawAnnotations:
    """Read the images in folder/image_2 with their labels in folder/label_2.

    Args:
        image_list: file of names without suffix, one to a line; all images by default.
        classes: names in the order of the labels; without it, the sorted names that occur in all of
            label_2, so that every split has the same.
        ignored: types of regions to ignore. What is in them may be of any class.

    Raises:
        DataError: a file is missing or malformed (with its line), or a type is neither in `classes`
            nor in `ignored`.
    """
    images, labels = _files(folder / "image_2"), _files(folder / "label_2")
    stems = read_names(image_list) if image_list is not None else sorted(images)
    # All of them for the classes, or else those of the split.
    used = labels if classes is None else stems
    found = {stem: _read_objects(labels[stem]) for stem in used if stem in labels}
    _refuse_missing_labels(stems, found, f"{folder / 'label_2'}", f"{image_list or folder}")
    if classes is None:
        classes = sorted({o.name for objects in found.values() for o in objects} - set(ignored))
    label_of = {name: label for label, name in enumerate(classes)}
    label_of.update(dict.fromkeys(ignored, ANY_CLASS))
    objects = [entry for stem in stems for entry in found[stem]]
    counts = np.array([len(found[stem]) for stem in stems], np.int64)
    _refuse_unknown_types(objects, label_of)

    boxes = np.array([o.corners for o in objects], np.float64).reshape(-1, 4)
    findings = mend_swapped_corners(boxes, lambda t: objects[t].where)
    if image_list is None:
        lost = sorted(set(labels) - set(images))
        findings += [
            Finding("labels of an unknown image", str(labels[stem]), "box dropped") for stem in lost
        ]
    suffix = next((path.suffix for path in images.values()), ".png")  # of missing images
    box_labels = np.array([label_of[o.name] for o in objects], np.int32)
    return RawAnnotations(
        source=str(image_list or folder),
        image_paths=[str(images.get(s, folder / "image_2" / f"{s}{suffix}")) for s in stems],
        image_ids=stems,
        declared_sizes=[None] * len(stems),
        box_images=np.repeat(np.arange(len(stems)), counts),
        boxes=boxes,
        labels=box_labels,
        is_ignored=box_labels == ANY_CLASS,
        areas=np.full(len(boxes), np.nan),
        class_names=tuple(classes),
        category_ids=tuple(range(1, len(classes) + 1)),
        describe_box=lambda t: objects[t].where,
        findings=findings,
    )


def _refuse_missing_labels(
    stems: Sequence[str], found: Container[str], folder: str, named_by: str
) -> None:
    for stem in stems:
        if stem not in found:
            raise DataError(
                f"{folder} has no {stem}.txt (named by {named_by}): an image without objects has "
                "an empty one"
            )


def _refuse_unknown_types(objects: Sequence[_Object], label_of: Mapping[str, int]) -> None:
    for entry in objects:
        if entry.name not in label_of:
            raise DataError(
                f"{entry.where} has the unknown type {entry.name!r}; known: {list(label_of)}"
            )


def _files(folder: Path) -> dict[str, Path]:
    """Return the images, or the labels, in a folder by their names without suffix."""
    suffixes = (".txt",) if folder.name == "label_2" else IMAGE_SUFFIXES
    try:
        return {p.stem: p for p in folder.iterdir() if p.suffix.lower() in suffixes}
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}") from error


def _read_objects(path: Path) -> list[_Object]:
    """Return the objects in a label file."""
    objects = []
    for number, line in enumerate(read_lines(path), start=1):
        cells = line.split()
        if not cells:
            continue
        where = f"{path}:{number}"
        if len(cells) not in _NUM_CELLS:
            raise DataError(
                f"{where} has {len(cells)} values where KITTI has 15: type, truncated, occluded, "
                "alpha, x1, y1, x2, y2, height, width, length, x, y, z, rotation"
            )
        try:
            corners = tuple(float(cell) for cell in cells[_CORNERS])
        except ValueError as error:
            raise DataError(f"{where} needs numbers x1, y1, x2, y2: {error}") from error
        objects.append(_Object(where, cells[0], corners))
    return objects
