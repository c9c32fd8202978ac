"""The rows of a CSV file of boxes, with or without a header, and all faults in them."""

import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.csv_rows.csv_titles import WANTED, Columns, is_number, read_titles
from keras_retinanet.data.formats.text_lines import (
    guess_delimiter,
    parse_number,
    read_lines,
    split_cells,
)
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES
from keras_retinanet.errors import DataError

COLUMNS = ("path", "x1", "y1", "x2", "y2", "class")
# Rows that tell which column is which.
_SAMPLE = 200
_IMAGE = re.compile(r"\.[a-zA-Z0-9]{2,5}$")


@dataclass
class Table:
    """The rows of a file: boxes [T, 4] as written, and of each its image, class name and line.

    Attributes:
        columns: where they were.
        has_header: whether a header told it.
        subsets: of each image, what the column of the split says; empty where there is none.
    """

    path: Path
    columns: Columns
    has_header: bool
    image_of: dict[str, int] = field(default_factory=dict)
    subsets: list[str] = field(default_factory=list)
    numbers: "array[float]" = field(default_factory=lambda: array("d"))
    box_images: "array[int]" = field(default_factory=lambda: array("q"))
    lines: "array[int]" = field(default_factory=lambda: array("q"))
    names: list[str] = field(default_factory=list)

    @property
    def boxes(self) -> np.ndarray:
        return np.array(self.numbers, np.float64).reshape(-1, 4)


def read_table(path: Path, *, needs_class: bool = True, max_rows: int | None = None) -> Table:
    """Return the rows of a file; what is wrong in one stops, with its line.

    Args:
        needs_class: a column of the class has to be there.
        max_rows: read no more lines than these.

    Raises:
        DataError: the file cannot be read, or its columns cannot be told.
    """
    lines = read_lines(path)[:max_rows]
    start, delimiter = _first_row(lines)
    table, start = _columns(path, lines, start, delimiter, needs_class)
    wanted = delimiter.join(COLUMNS) if not table.has_header else "as many as the header's titles"
    for number, line in enumerate(lines[start:], start=start + 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            cells = _cells(line, delimiter, where, table.columns.count)
        except DataError as error:
            stop("row that is no CSV", where, str(error))
            continue
        if len(cells) == table.columns.count:
            _add(table, cells, number, where, decimal_comma=delimiter != ",")
        elif not _is_remark(line):
            stop(
                "row with too few or too many cells",
                f"{where}: {len(cells)} instead of {table.columns.count}",
                f"{where} has {len(cells)} cells instead of {table.columns.count}: "
                f"rows are {wanted}",
            )
    return table


def _add(table: Table, cells: list[str], number: int, where: str, *, decimal_comma: bool) -> None:
    """Add the box of a row."""
    columns = table.columns
    image = cells[columns.image]
    if not image:
        message = f"{where} names no image: rows are {','.join(COLUMNS)}"
        stop("row that names no image", where, message)
        return
    name = "" if columns.name is None else cells[columns.name]
    texts = [cells[i] for i in columns.box]
    if len(texts) == 1:
        texts = [part for part in re.split(r"[\s,;]+", texts[0].strip("[](){} ")) if part]
    index = table.image_of.setdefault(image, len(table.image_of))
    if columns.subset is not None and not _note_subset(table, index, cells[columns.subset], where):
        return
    is_empty = not any(texts)
    if is_empty and (not name or len(columns.box) == 1):
        return  # an image without objects
    try:
        if len(texts) != 4:
            raise ValueError(f"{len(texts)} of them")
        box = [parse_number(text, decimal_comma=decimal_comma) for text in texts]
    except ValueError as error:
        stop(
            "row without four numbers",
            f"{where}: {str(error)[:200]}",
            f"{where} needs four numbers x1, y1, x2, y2: {str(error)[:200]}",
        )
        return
    if not name and columns.name is not None:
        stop("box without a class", where, f"{where} has a box without a class")
        return
    table.numbers.extend(box)
    table.names.append(name)
    table.box_images.append(index)
    table.lines.append(number)


def _note_subset(table: Table, index: int, subset: str, where: str) -> bool:
    """Keep the split of an image; stop, and return False, where another row told another one."""
    if index == len(table.subsets):
        table.subsets.append(subset)
    if table.subsets[index] == subset:
        return True
    both = f"{table.subsets[index]!r} and {subset!r}"
    message = f"{where}: the image is in two splits, {both}: give all of its rows one of them"
    stop("image in two splits", where, message)
    return False


def _first_row(lines: Sequence[str]) -> tuple[int, str]:
    """Return where the first row is that is neither blank nor a remark, and the delimiter."""
    filled = [i for i, line in enumerate(lines) if line.strip()]
    start = next((i for i in filled if not _is_remark(lines[i])), len(lines))
    return start, guess_delimiter(lines[start] if start < len(lines) else ",")


def _is_remark(line: str) -> bool:
    """Whether a line is a remark: it begins with "#" and is neither a header nor a row."""
    if not line.startswith("#"):
        return False
    return line.count(guess_delimiter(line)) < 4


def _columns(
    path: Path, lines: Sequence[str], start: int, delimiter: str, needs_class: bool
) -> tuple[Table, int]:
    """Return the empty table, and where its first row is."""
    sample: list[list[str]] = []
    for number, line in enumerate(lines[start : start + _SAMPLE], start=start + 1):
        if line.strip():
            try:
                sample.append(split_cells(line, delimiter, f"{path}:{number}"))
            except DataError:
                if not sample:
                    raise
    if not sample:
        return Table(path, Columns(0, (1, 2, 3, 4), 5, "xyxy", len(COLUMNS)), False), start
    where = f"{path}:{start + 1}"
    if _is_header(sample[0]):
        titles = sample[0]
        columns = read_titles(titles, sample[1:])
        if isinstance(columns, Columns) and columns.name is None and needs_class:
            columns = (
                "no column of the class (if there is one class only, name it in the data YAML: "
                "`classes: [NAME]`)"
            )
        if isinstance(columns, str):
            raise DataError(
                f"{where}: the header cannot be understood: {columns}. Its titles are "
                f"{', '.join(map(repr, titles))[:300]}; needed are {WANTED}"
            )
        return Table(path, columns, True), start + 1
    return Table(path, _guess_columns(sample), False), start


def _is_header(cells: Sequence[str]) -> bool:
    """Whether the first row is a header: no number is in it, no file, and not one cell alone."""
    filled = [cell for cell in cells if cell]
    if len(filled) < 2:
        return False
    is_data = any(is_number(cell) or cell.lower().endswith(IMAGE_SUFFIXES) for cell in filled)
    return not is_data


def _guess_columns(sample: Sequence[Sequence[str]]) -> Columns:
    """Return the columns of a file without a header: path, box and class as the cells show."""
    default = Columns(0, (1, 2, 3, 4), 5, "xyxy", len(COLUMNS))
    filled = [_stripped(cells) for cells in sample]
    counts = [len(cells) for cells in filled if sum(map(bool, cells)) > 1]
    count = max(set(counts), key=counts.count) if counts else 0
    rows = [cells for cells in filled if len(cells) == count]
    if count < len(COLUMNS):
        return default
    numbers = [i for i in range(count) if _share(rows, i, is_number) > 0.5]
    files = [_share(rows, i, lambda cell: bool(_IMAGE.search(cell))) for i in range(count)]
    for i in numbers:
        files[i] = 0.0
    image = int(np.argmax(files)) if max(files) > 0.5 else 0
    if image in numbers[:1] and len(numbers) > 4:
        numbers = numbers[1:]  # images that are named by numbers
    if count == len(COLUMNS) and image == 0 and numbers[:4] != [2, 3, 4, 5]:
        return default
    texts = [i for i in range(count) if i != image and i not in numbers]
    if len(texts) == 1 and len(numbers) in (4, 6):
        # make-sense: class, x, y, width, height, image, and the image's width and height.
        is_makesense = len(numbers) == 6 and image > numbers[3]
        order = "xywh" if is_makesense else "xyxy"
        return Columns(image, tuple(numbers[:4]), texts[0], order, count)
    return default


def _share(rows: Sequence[Sequence[str]], i: int, is_kind: Callable[[str], bool]) -> float:
    """Return the share of the filled cells of a column that are of a kind."""
    cells = [row[i] for row in rows if row[i]]
    return sum(map(is_kind, cells)) / len(cells) if cells else 0.0


def _cells(line: str, delimiter: str, where: str, count: int) -> list[str]:
    """Return the cells of a row, without empty ones behind the last column."""
    cells = split_cells(line, delimiter, where)
    while len(cells) > count and not cells[-1]:
        cells.pop()
    return cells


def _stripped(cells: Sequence[str]) -> list[str]:
    """Return the cells without empty ones behind those that a row has at least."""
    cells = list(cells)
    while len(cells) > len(COLUMNS) and not cells[-1]:
        cells.pop()
    return cells
