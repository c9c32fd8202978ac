"""Reader of CSV files with a box to a row, as fizyr's keras-retinanet has them."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_retinanet.data.cleaning import mend_swapped_corners
from keras_retinanet.data.formats.text_lines import (
    guess_delimiter,
    parse_number,
    read_lines,
    split_cells,
)
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

COLUMNS = ("path", "x1", "y1", "x2", "y2", "class")
# What other tools write over the same columns; with such a header their order is free.
_SYNONYMS = {
    "path": ("path", "filename", "file_name", "file", "image", "image_path", "img", "img_path"),
    "x1": ("x1", "xmin", "x_min", "left"),
    "y1": ("y1", "ymin", "y_min", "top"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
    "class": ("class", "class_name", "label", "category"),
}
_COLUMN_OF = {synonym: column for column, names in _SYNONYMS.items() for synonym in names}


@dataclass
class _Table:
    """The rows of a file: boxes [T, 4], and of each box its image, class name and line."""

    paths: list[str]
    boxes: np.ndarray
    box_images: np.ndarray
    names: list[str]
    lines: Sequence[int]


def read_csv(
    annotations: Path, classes: Path | None = None, *, other_splits: Sequence[Path] = ()
) -> RawAnnotations:
    """Read rows path,x1,y1,x2,y2,class; the row path,,,,, is an image without objects.

    Paths are relative to the file's folder. Cells are divided by commas, semicolons or tabs; a
    header row may name them in another order.

    Args:
        classes: file of rows name,id; labels follow the order of the ids. Without it, the classes
            are the sorted names in this file and in `other_splits`, so that every split has the
            same.

    Raises:
        DataError: a file cannot be read, a row is malformed, or its class is not in `classes` (with
            file and line).
    """
    table = _read_table(annotations)
    if classes is not None:
        ids = _read_classes(classes)
    else:
        names = set(table.names).union(*(_read_table(path).names for path in other_splits))
        ids = {name: i for i, name in enumerate(sorted(names))}
    label_of = {name: label for label, name in enumerate(ids)}

    def describe_box(t: int) -> str:
        return f"{annotations}:{table.lines[t]}"

    unknown = [t for t, name in enumerate(table.names) if name not in label_of]
    if unknown:
        raise DataError(
            f"{describe_box(unknown[0])} has the unknown class {table.names[unknown[0]]!r}; "
            f"known: {list(label_of)}"
        )
    return RawAnnotations(
        source=str(annotations),
        image_paths=[str(annotations.parent / path) for path in table.paths],
        image_ids=table.paths,
        declared_sizes=[None] * len(table.paths),
        box_images=table.box_images,
        boxes=table.boxes,
        labels=np.array([label_of[name] for name in table.names], np.int32),
        is_ignored=np.zeros(len(table.boxes), bool),
        areas=np.full(len(table.boxes), np.nan),
        class_names=tuple(ids),
        category_ids=tuple(ids.values()),
        describe_box=describe_box,
        findings=mend_swapped_corners(table.boxes, describe_box),
    )


def _read_table(path: Path) -> _Table:
    lines = read_lines(path)
    delimiter = guess_delimiter(next((line for line in lines if line.strip()), ","))
    order: Sequence[int] = range(len(COLUMNS))
    num_cells = len(COLUMNS)
    image_of: dict[str, int] = {}
    boxes, box_images, box_lines = array("d"), array("q"), array("q")
    names: list[str] = []
    is_first = True
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        cells = split_cells(line, delimiter, where)
        if is_first:
            is_first = False
            header = _read_header(cells, where)
            if header is not None:
                order, num_cells = header, len(cells)
                continue
        if len(cells) != num_cells:
            raise DataError(
                f"{where} has {len(cells)} cells instead of {num_cells}: rows are "
                f"{delimiter.join(COLUMNS)}"
            )
        image, *corners, name = (cells[i] for i in order)
        if not image:
            raise DataError(f"{where} names no image: rows are {delimiter.join(COLUMNS)}")
        index = image_of.setdefault(image, len(image_of))
        if not any(corners) and not name:
            continue
        try:
            boxes.extend([parse_number(c, decimal_comma=delimiter != ",") for c in corners])
        except ValueError as error:
            raise DataError(f"{where} needs four numbers x1, y1, x2, y2: {error}") from error
        if not name:
            raise DataError(f"{where} has a box without a class")
        names.append(name)
        box_images.append(index)
        box_lines.append(number)
    return _Table(
        paths=list(image_of),
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        box_images=np.array(box_images, np.int64),
        names=names,
        lines=box_lines,
    )


def _read_header(cells: list[str], where: str) -> list[int] | None:
    """Return where the header row has each of COLUMNS, or None if the row is no header."""
    titles = [cell.lower().replace(" ", "_") for cell in cells]
    columns = [_COLUMN_OF.get(title) for title in titles]
    if sum(column in columns for column in ("x1", "y1", "x2", "y2")) < 2:
        return None
    for column in COLUMNS:
        if columns.count(column) != 1:
            given = [title for title, c in zip(titles, columns, strict=True) if c == column]
            raise DataError(
                f"{where}: the header needs one column {column!r}, got {given or 'none'}: "
                f"rows are {','.join(COLUMNS)}"
            )
    return [columns.index(column) for column in COLUMNS]


def _read_classes(path: Path) -> dict[str, int]:
    """Return the ids of the classes by name, in the order of the ids."""
    lines = read_lines(path)
    delimiter = guess_delimiter(next((line for line in lines if line.strip()), ","))
    ids: dict[str, int] = {}
    is_first = True
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        cells = split_cells(line, delimiter, where)
        is_header = is_first and len(cells) == 2 and cells[1].lower() in ("id", "class_id", "label")
        is_first = False
        if is_header:
            continue
        try:
            name, class_id = cells[0], int(cells[1]) if len(cells) == 2 else None
        except ValueError:
            class_id = None
        if class_id is None or not name:
            raise DataError(f"{where}: rows of a classes file are name,id with a whole number id")
        if name in ids or class_id in ids.values():
            raise DataError(f"{where}: the class {name!r} or its id {class_id} is there already")
        ids[name] = class_id
    if not ids:
        raise DataError(f"{path} names no class: its rows are name,id")
    return dict(sorted(ids.items(), key=lambda item: item[1]))
