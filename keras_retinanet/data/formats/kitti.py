"""Reader of KITTI's object detection labels: image_2/*.png and label_2/*.txt."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_retinanet.data.cleaning import mend_swapped_corners
from keras_retinanet.data.dataset import ANY_CLASS, Finding
from keras_retinanet.data.faults import stop
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
    images_folder: Path | None = None,
    labels_folder: Path | None = None,
) -> RawAnnotations:
    """Read the images in folder/image_2 with their labels in folder/label_2.

    Args:
        image_list: file of names without suffix, one to a line; all images by default.
        classes: names in the order of the labels; without it, the sorted names that occur in all of
            label_2, so that every split has the same.
        ignored: types of regions to ignore. What is in them may be of any class.
        images_folder, labels_folder: in place of image_2 and label_2.

    Raises:
        DataError: a file is missing or malformed (with its line), or a type is neither in `classes`
            nor in `ignored`.
    """
    image_folder = images_folder or folder / "image_2"
    labels_folder = labels_folder or folder / "label_2"
    images, labels = _files(image_folder, IMAGE_SUFFIXES), _files(labels_folder, (".txt",))
    stems = read_names(image_list) if image_list is not None else sorted(images)
    # All of them for the classes, or else those of the split.
    used = labels if classes is None else stems
    found = {stem: _read_objects(labels[stem]) for stem in used if stem in labels}
    stems = _labelled(stems, found, f"{labels_folder}", f"{image_list or folder}")
    if classes is None:
        classes = sorted({o.name for objects in found.values() for o in objects} - set(ignored))
    label_of = {name: label for label, name in enumerate(classes)}
    label_of.update(dict.fromkeys(ignored, ANY_CLASS))
    known = [_known(found[stem], label_of) for stem in stems]
    objects = [entry for entries in known for entry in entries]
    counts = np.array([len(entries) for entries in known], np.int64)

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
        image_paths=[str(images.get(s, image_folder / f"{s}{suffix}")) for s in stems],
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


def _labelled(stems: Sequence[str], found: Container[str], folder: str, named_by: str) -> list[str]:
    """Return the images that have a label file; stop at the others."""
    for stem in stems:
        if stem not in found:
            stop(
                "image without a label file",
                f"{folder}: {stem}.txt (named by {named_by})",
                f"{folder} has no {stem}.txt (named by {named_by}): an image without objects has "
                "an empty one",
            )
    return [stem for stem in stems if stem in found]


def _known(objects: Sequence[_Object], label_of: Mapping[str, int]) -> list[_Object]:
    """Return the objects whose types are known; stop at the others."""
    for entry in objects:
        if entry.name not in label_of:
            stop(
                "object of an unknown type",
                f"{entry.where}: {entry.name!r}",
                f"{entry.where} has the unknown type {entry.name!r}; known: {list(label_of)}",
            )
    return [entry for entry in objects if entry.name in label_of]


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return the images, or the labels, in a folder by their names without suffix."""
    try:
        return {p.stem: p for p in folder.iterdir() if p.suffix.lower() in suffixes}
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}") from error


def _read_objects(path: Path) -> list[_Object]:
    """Return the objects in a label file."""
    try:
        lines = read_lines(path)
    except DataError as error:
        stop("label file that cannot be read", str(error), str(error))
        return []
    rows = (_parse(line, f"{path}:{n}") for n, line in enumerate(lines, start=1) if line.strip())
    return [row for row in rows if row is not None]


def _parse(line: str, where: str) -> _Object | None:
    cells = line.split()
    if len(cells) not in _NUM_CELLS:
        text = (
            f"{where} has {len(cells)} values where KITTI has 15: type, truncated, occluded, "
            "alpha, x1, y1, x2, y2, height, width, length, x, y, z, rotation"
        )
        stop("row of a wrong length", text, text)
        return None
    try:
        corners = tuple(float(cell) for cell in cells[_CORNERS])
    except ValueError as error:
        text = f"{where} needs numbers x1, y1, x2, y2: {error}"
        stop("row with what is no number", text, text)
        return None
    return _Object(where, cells[0], corners)
