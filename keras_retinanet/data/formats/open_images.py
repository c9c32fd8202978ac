"""Reader of Open Images' boxes: *-annotations-bbox.csv, of which the training set has 14.6 million:
arrays of the least width, filled block by block."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_retinanet.data.cleaning import BLOCK_SIZE, mend_swapped_corners
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.image_finder import ImageFinder
from keras_retinanet.data.formats.open_images_rows import count_lines, read_rows
from keras_retinanet.data.formats.text_lines import read_lines, read_names, split_cells
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.data.text_array import TextArray
from keras_retinanet.errors import DataError


@dataclass(frozen=True)
class _Table:
    """The boxes of a file.

    Attributes:
        boxes: [T, 4] float32 xyxy, shares of the image.
        labels, box_images: [T] int32, as their numberings have them.
        lines: [T] int32, where they are written.
        is_group: [T].
        num_dropped: boxes of images that are not to be read.
    """

    boxes: np.ndarray
    labels: np.ndarray
    box_images: np.ndarray
    lines: np.ndarray
    is_group: np.ndarray
    num_dropped: int


def read_open_images(
    images: Path, annotations: Path, classes: Path | None = None, image_list: Path | None = None
) -> RawAnnotations:
    """Read the boxes of a split; images are images/<ImageID>.jpg. Groups are regions to ignore.

    Boxes are normalised.

    Args:
        classes: class-descriptions-boxable.csv, rows LabelName,name in the order of the labels;
            without it, the classes are the sorted LabelNames of the file.
        image_list: file of ImageIDs, one to a line: images to read, those without a box included;
            without it, those with boxes.

    Raises:
        DataError: a file cannot be read, a row is malformed, or its class is unknown (with file and
            line).
    """
    listed = None if image_list is None else read_names(image_list)
    image_of = _Numbering(listed)
    descriptions = None if classes is None else _read_descriptions(classes)
    label_of = _Numbering(descriptions)
    table = _read_table(annotations, image_of, label_of, classes)

    labels, names = table.labels, label_of.names
    lines = _without_array(table.lines)

    def describe_box(t: int) -> str:
        return f"{annotations}:{lines[t]}"

    if descriptions is None:
        order = np.argsort(np.array(names, object), kind="stable").astype(np.int32)
        labels = np.argsort(order).astype(np.int32)[labels]
        names = [names[i] for i in order]
    findings = mend_swapped_corners(table.boxes, describe_box)
    if table.num_dropped:
        where = f"{annotations}: {table.num_dropped}"
        findings.append(Finding(f"boxes of images not in {image_list}", where, "box dropped"))
    ids, images_folder = image_of.as_array(), str(images)
    del image_of  # what tells the numbers of millions of ids takes more memory than the rest
    finder = ImageFinder(images, below=images)
    return RawAnnotations(
        source=str(annotations),
        image_paths=[_image_path(images_folder, image_id, finder) for image_id in ids],
        image_ids=ids,
        declared_sizes=[None] * len(ids),
        box_images=table.box_images,
        boxes=table.boxes,
        labels=labels,
        is_ignored=table.is_group,
        areas=np.broadcast_to(np.float32(np.nan), len(table.boxes)),
        class_names=tuple(descriptions.values() if descriptions else names),
        category_ids=tuple(range(1, len(names) + 1)),
        describe_box=describe_box,
        findings=findings,
        boxes_normalized=True,
    )


def _read_table(
    annotations: Path, image_of: "_Numbering", label_of: "_Numbering", classes: Path | None
) -> _Table:
    """Return the boxes of the images that `image_of` numbers; `classes` is named in messages."""
    capacity = count_lines(annotations)
    boxes = np.empty((capacity, 4), np.float32)
    labels, box_images, lines = (np.empty(capacity, np.int32) for _ in range(3))
    is_group = np.empty(capacity, bool)
    count = num_dropped = 0
    for rows in read_rows(annotations):
        index, label = image_of(rows.images), label_of(rows.names)
        for row in np.flatnonzero(label < 0):
            where, name = f"{annotations}:{rows.lines[row]}", rows.names[row].decode()
            stop(
                "object of an unknown class",
                f"{where}: {name!r}",
                f"{where} has the unknown class {name!r}: it is not in {classes}",
            )
        num_dropped += int((index < 0).sum())
        keep = (index >= 0) & (label >= 0)
        block = slice(count, count + int(keep.sum()))
        boxes[block], is_group[block] = rows.corners[keep], rows.is_group[keep]
        labels[block], box_images[block], lines[block] = label[keep], index[keep], rows.lines[keep]
        count = block.stop
    return _Table(
        boxes=boxes[:count],
        labels=labels[:count],
        box_images=box_images[:count],
        lines=lines[:count],
        is_group=is_group[:count],
        num_dropped=num_dropped,
    )


def _without_array(lines: np.ndarray) -> Sequence[int]:
    """Return numbers that follow each other as a range, others as they are."""
    if len(lines) and all(
        (np.diff(lines[start : start + BLOCK_SIZE + 1]) == 1).all()
        for start in range(0, len(lines), BLOCK_SIZE)
    ):
        return range(int(lines[0]), int(lines[-1]) + 1)
    return lines  # type: ignore[return-value]


def _image_path(folder: str, image_id: str, finder: ImageFinder) -> str:
    name = image_id if image_id.lower().endswith(IMAGE_SUFFIXES) else f"{image_id}.jpg"
    path = os.path.join(folder, name)  # pathlib takes ten times as long
    if os.path.exists(path):
        return path
    found = finder.find(image_id)  # another suffix, or in a folder below
    return found if os.path.exists(found) else path


class _Numbering:
    """Numbers for texts: their places in a list, or in the order in which they are seen."""

    def __init__(self, names: Iterable[str] | None) -> None:
        self._is_fixed = names is not None
        self._number_of = {name.encode(): i for i, name in enumerate(names or ())}

    @property
    def names(self) -> list[str]:
        return [name.decode() for name in self._number_of]

    def as_array(self) -> TextArray:
        return TextArray(np.array(list(self._number_of), bytes))

    def __call__(self, texts: np.ndarray) -> np.ndarray:
        """Return the number of each text [n] int32, -1 where it is not in the list."""
        # Equal texts follow each other, mostly: one look for each run.
        is_start = np.ones(len(texts), bool)
        is_start[1:] = texts[1:] != texts[:-1]
        starts = np.flatnonzero(is_start)
        run_numbers = np.empty(len(starts), np.int32)
        for i, text in enumerate(texts[starts].tolist()):
            number = self._number_of.get(text, -1)
            if number < 0 and not self._is_fixed:
                number = self._number_of[text] = len(self._number_of)
            run_numbers[i] = number
        return np.repeat(run_numbers, np.diff(np.append(starts, len(texts))))


def _read_descriptions(path: Path) -> dict[str, str]:
    """Return the names of the classes by LabelName, in the order of the file."""
    name_of: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        cells = split_cells(line, ",", where)
        if cells == ["LabelName", "DisplayName"]:
            continue
        if len(cells) != 2 or not all(cells):
            text = f"{where}: rows of class descriptions are LabelName,name"
            stop("row that cannot be read", text, text)
            continue
        if cells[0] in name_of or cells[1] in name_of.values():
            text = f"{where}: {cells[0]!r} or {cells[1]!r} is there already"
            stop("class described twice", text, text)
            continue
        name_of[cells[0]] = cells[1]
    if not name_of:
        raise DataError(f"{path} names no class: its rows are LabelName,name")
    return name_of
