"""Reader of CSV files with a box to a row, as fizyr's keras-retinanet and many tools have them."""

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_retinanet.config.yaml_files import did_you_mean
from keras_retinanet.data.cleaning import mend_swapped_corners
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.box_orders import (
    MAX_IMAGES,
    look_up_sizes,
    other_orders,
    to_corners,
)
from keras_retinanet.data.formats.csv_rows.csv_classes import read_classes
from keras_retinanet.data.formats.csv_rows.csv_table import Table, read_table
from keras_retinanet.data.formats.image_finder import ImageFinder
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

# A header for each order of the columns.
_TITLES = {
    "xyxy": ("xmin", "ymin", "xmax", "ymax"),
    "xxyy": ("xmin", "xmax", "ymin", "ymax"),
    "xywh": ("x", "y", "width", "height"),
    "cxcywh": ("x_center", "y_center", "width", "height"),
}


def read_csv(
    annotations: Path,
    classes: Path | Sequence[str] | None = None,
    *,
    other_splits: Sequence[Path] = (),
    images: Path | None = None,
    order: str | None = None,
    excluded: Sequence[str] = (),
    subset: str | None = None,
) -> RawAnnotations:
    """Read rows path,x1,y1,x2,y2,class; the row path,,,,, is an image without objects.

    Cells are divided by commas, semicolons or tabs. A header may name the columns in any order, and
    x, y, width, height in place of the corners. Without a header, the column of the path may be
    elsewhere; boxes in an order that their numbers and the images' sizes contradict stop.

    Args:
        classes: the names; or a file of rows name,id, whose ids the labels follow. Without it, the
            classes are the sorted names in this file and in `other_splits`, so that every split has
            the same.
        images: the folder that paths are relative to; by default the file's.
        order: of the numbers of a box where no header tells it, one of box_orders.ORDERS.
        excluded: classes that may be there besides.
        subset: what the file's column of splits says of the images to read; None: all of them.

    Raises:
        DataError: a file cannot be read, a row is malformed, or its class is not in `classes` (with
            file and line).
    """
    declared = None if classes is None or isinstance(classes, Path) else list(classes)
    only = declared[0] if declared and len(declared) == 1 else None
    table = read_table(annotations, needs_class=only is None)
    if table.columns.name is None and only is not None:
        table.names = [only] * len(table.names)
    if isinstance(classes, Path):
        ids = read_classes(classes)
    elif declared is not None:
        ids = {name: i for i, name in enumerate(declared)}
    else:
        names = set(table.names).union(*(read_table(path).names for path in other_splits))
        ids = {name: i for i, name in enumerate(sorted(names))}
    for name in excluded:
        ids.setdefault(name, max(ids.values(), default=-1) + 1)
    if subset is not None:
        _take_subset(table, subset)
    known = _stop_at_unknown(table, ids, classes)
    folder = annotations.parent
    places = [folder, folder / "images"] if images is None else [images, folder]
    finder = ImageFinder(*places, below=images or folder)
    paths = [finder.find(path) for path in table.image_of]
    box_images = np.array(table.box_images, np.int64)
    boxes = _corners(table, order, box_images, paths)[known]
    label_of = {name: label for label, name in enumerate(ids)}

    def describe_box(t: int) -> str:
        return f"{annotations}:{table.lines[int(known[t])]}"

    return RawAnnotations(
        source=str(annotations),
        image_paths=paths,
        image_ids=list(table.image_of),
        declared_sizes=[None] * len(paths),
        box_images=box_images[known],
        boxes=boxes,
        labels=np.array([label_of[table.names[t]] for t in known], np.int32),
        is_ignored=np.zeros(len(boxes), bool),
        areas=np.full(len(boxes), np.nan),
        class_names=tuple(ids),
        category_ids=tuple(ids.values()),
        describe_box=describe_box,
        findings=mend_swapped_corners(boxes, describe_box),
    )


def _take_subset(table: Table, subset: str) -> None:
    """Leave only the images of one split in the table, and their boxes."""
    if subset not in table.subsets:
        raise DataError(
            f"{table.path} has no images of the split {subset!r}; its column of splits says "
            f"{', '.join(sorted(set(table.subsets))) or 'nothing'}"
        )
    kept = [name for name, i in table.image_of.items() if table.subsets[i] == subset]
    rows = [t for t, i in enumerate(table.box_images) if table.subsets[i] == subset]
    new_index = {table.image_of[name]: i for i, name in enumerate(kept)}
    table.numbers = array("d", table.boxes[rows].ravel())
    table.box_images = array("q", [new_index[table.box_images[t]] for t in rows])
    table.lines = array("q", [table.lines[t] for t in rows])
    table.names = [table.names[t] for t in rows]
    table.image_of = {name: i for i, name in enumerate(kept)}
    table.subsets = [subset] * len(kept)


def _stop_at_unknown(
    table: Table, ids: dict[str, int], classes: Path | Sequence[str] | None
) -> np.ndarray:
    """Stop at each class that is not in `ids`; return the rows of the others."""
    lines_of: dict[str, list[int]] = {}
    for name, line in zip(table.names, table.lines, strict=True):
        if name not in ids:
            lines_of.setdefault(name, []).append(line)
    for name, lines in lines_of.items():
        where = f"{table.path}:{lines[0]}"
        told = f"; known: {list(ids)[:100]}"
        close = did_you_mean(name, list(ids))
        told += f"; {close}" if close.startswith("did") else ""
        stop(
            "object of an unknown class",
            f"{where}: class {name!r}, {len(lines)} rows",
            f"{where} has the unknown class {name!r}{told}: add it to "
            f"{classes if isinstance(classes, Path) else '`classes`'}, or leave it out by "
            f"`exclude_classes: [{name}]` ({len(lines)} such rows)",
        )
    return np.array([t for t, name in enumerate(table.names) if name in ids], np.int64)


def _corners(
    table: Table, order: str | None, box_images: np.ndarray, paths: Sequence[str]
) -> np.ndarray:
    """Return the boxes as xyxy; where no header tells their order, stop if it cannot be right."""
    values = table.boxes
    told = table.has_header and len(table.columns.box) == 4
    if told or order is not None:
        return to_corners(values, table.columns.order if told else order or "")
    assumed = table.columns.order
    looked_at = list(dict.fromkeys(box_images.tolist()))[:MAX_IMAGES]
    sizes = np.full((len(paths), 2), np.nan)
    sizes[looked_at] = look_up_sizes([paths[i] for i in looked_at])
    others = other_orders(values, assumed, sizes[box_images])
    if others:
        stop(
            "columns of boxes in another order than expected",
            f"{table.path}: {assumed}",
            f"{table.path}: the numbers of the boxes cannot be {','.join(_TITLES[assumed])}: many "
            f"have no area or leave their images; they may be {_suggestion(table, others)}",
        )
    return to_corners(values, assumed)


def _suggestion(table: Table, others: Sequence[str]) -> str:
    """Return how to say what the columns are: a header where one row can name them all."""
    columns = table.columns
    told = " or ".join(",".join(_TITLES[order]) for order in others)
    if len(columns.box) == 1:
        return f"{told}: say so by `boxes: {others[0]}` in the data YAML"
    titles = [f"column{i + 1}" for i in range(columns.count)]
    titles[columns.image] = "filename"
    if columns.name is not None:
        titles[columns.name] = "class"
    for place, title in zip(columns.box, _TITLES[others[0]], strict=True):
        titles[place] = title
    return (
        f"{told}: add the header {','.join(titles)} as the first line, or say `boxes: {others[0]}` "
        "in a data YAML"
    )
