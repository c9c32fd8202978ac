"""Rows of Open Images' box files, read in blocks: a block is taken apart by NumPy where all of its
rows are plain, and row by row where they are not: quoted cells, spaces, blank lines, faults."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.text_lines import parse_number, split_cells
from keras_retinanet.errors import DataError

BLOCK_BYTES = 8 * 2**20
# Longer cells are no file names, ids or numbers; blocks that hold one are read row by row.
MAX_CELL_BYTES = 64
MAX_LINE_BYTES = 2**16

_NEEDED = ("ImageID", "LabelName", "XMin", "YMin", "XMax", "YMax")
_IS_GROUP = "IsGroupOf"
# -1 is "unknown".
_GROUP_FLAGS = (b"", b"0", b"1", b"-1")


@dataclass(frozen=True)
class Rows:
    """Consecutive boxes.

    Attributes:
        images, names: [n] NumPy bytes, ImageID and LabelName.
        corners: [n, 4] float32 xyxy.
        is_group: [n].
        lines: [n], where they are written.
    """

    images: np.ndarray
    names: np.ndarray
    corners: np.ndarray
    is_group: np.ndarray
    lines: np.ndarray


@dataclass(frozen=True)
class _Header:
    """Where the columns are; `group` is None in files without IsGroupOf."""

    image: int
    name: int
    corners: tuple[int, ...]
    group: int | None
    num_columns: int


def read_rows(path: Path) -> Iterator[Rows]:
    """Yield the boxes of a file, block by block.

    Raises:
        DataError: the file has no header, is not UTF-8, or a row is malformed (with its line).
    """
    header = None
    for first_line, block in _read_blocks(path):
        if header is None:
            line, _, block = block.partition(b"\n")
            header = _read_header(line, f"{path}:1")
            first_line += 1
        rows = _parse_block(block, first_line, header)
        yield _parse_lines(block, first_line, header, path) if rows is None else rows
    if header is None:
        raise DataError(f"{path}:1: the file is empty: it needs a header with {', '.join(_NEEDED)}")


def count_lines(path: Path) -> int:
    """Return the number of lines in a file, an unfinished one included.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return 1 + sum(b.count(b"\n") for b in iter(lambda: file.read(BLOCK_BYTES), b""))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _read_blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number of the first line, and whole lines of UTF-8 that end with b"\\n"."""
    line = 1
    with path.open("rb") as file:
        rest = file.read(3)
        rest = b"" if rest == b"\xef\xbb\xbf" else rest
        while True:
            read = file.read(BLOCK_BYTES)
            block = rest + read
            if not read:
                end = len(block)
                if block and not block.endswith(b"\n"):
                    block, end = block + b"\n", end + 1
            else:
                end = block.rfind(b"\n") + 1
                if len(block) - end > MAX_LINE_BYTES:
                    line += block.count(b"\n")
                    raise DataError(f"{path}:{line} is longer than {MAX_LINE_BYTES} bytes: no CSV")
            block, rest = block[:end], block[end:]
            if b"\r" in block:
                block = block.replace(b"\r\n", b"\n")
            if not block.isascii():
                try:
                    block.decode()
                except UnicodeDecodeError as error:
                    line += block[: error.start].count(b"\n")
                    raise DataError(f"{path}:{line}: not UTF-8 text: save it as such") from error
            if block:
                yield line, block
            line += block.count(b"\n")
            if not read:
                return


def _read_header(line: bytes, where: str) -> _Header:
    titles = split_cells(line.decode(), ",", where)
    missing = [name for name in _NEEDED if name not in titles]
    if missing:
        raise DataError(
            f"{where}: no column {', '.join(missing)}: boxes of Open Images begin with a header "
            f"that has {', '.join(_NEEDED)}"
        )
    image, name, *corners = (titles.index(name) for name in _NEEDED)
    group = titles.index(_IS_GROUP) if _IS_GROUP in titles else None
    return _Header(image, name, tuple(corners), group, len(titles))


def _parse_block(block: bytes, first_line: int, header: _Header) -> Rows | None:
    """Return the boxes of a block of plain rows, or None if it is not one."""
    if not block or any(unusual in block for unusual in (b'"', b"\0", b", ", b" ,")):
        return None
    content = np.frombuffer(block, np.uint8)
    separators = np.flatnonzero((content == ord(",")) | (content == ord("\n")))
    num_lines = block.count(b"\n")
    if len(separators) != num_lines * header.num_columns:
        return None
    ends = separators.reshape(num_lines, header.num_columns)
    if not (content[ends[:, -1]] == ord("\n")).all():
        return None  # one row is too short and another too long
    starts = np.concatenate([[0], separators[:-1] + 1]).reshape(ends.shape)
    widths = ends - starts
    content = np.concatenate([content, np.zeros(MAX_CELL_BYTES, np.uint8)])

    def cells(column: int) -> np.ndarray:
        width = max(1, int(widths[:, column].max()))
        if width > MAX_CELL_BYTES:
            raise ValueError(f"a cell of {width} bytes")
        offsets = np.arange(width)
        texts = content[starts[:, column, None] + offsets]
        texts[offsets >= widths[:, column, None]] = 0
        return texts.view(f"S{width}").ravel()

    corners = np.empty((num_lines, 4), np.float32)
    try:
        images, names = cells(header.image), cells(header.name)
        groups = np.zeros(num_lines, "S1") if header.group is None else cells(header.group)
        with np.errstate(over="ignore"):  # infinity is refused later, with its line
            for i, column in enumerate(header.corners):
                corners[:, i] = cells(column).astype(np.float64)
    except ValueError:
        return None
    if (images == b"").any() or (names == b"").any() or not np.isin(groups, _GROUP_FLAGS).all():
        return None
    lines = np.arange(first_line, first_line + num_lines)
    return Rows(images, names, corners, groups == b"1", lines)


def _parse_lines(block: bytes, first_line: int, header: _Header, path: Path) -> Rows:
    """Return the boxes of a block, row by row; stop at each that is malformed."""
    images, names, corners, is_group, lines = [], [], [], [], []
    for number, line in enumerate(block.decode().split("\n")[:-1], start=first_line):
        if not line.strip():
            continue
        try:
            image, name, box, is_one = _parse_line(line, f"{path}:{number}", header)
        except DataError as error:
            stop("row that cannot be read", str(error), str(error))
            continue
        images.append(image)
        names.append(name)
        corners.append(box)
        is_group.append(is_one)
        lines.append(number)
    with np.errstate(over="ignore"):
        table = np.array(corners, np.float64).reshape(-1, 4).astype(np.float32)
    return Rows(
        np.array(images, bytes),
        np.array(names, bytes),
        table,
        np.array(is_group, bool),
        np.array(lines, np.int64),
    )


def _parse_line(line: str, where: str, header: _Header) -> tuple[bytes, bytes, list[float], bool]:
    """Return image, class, corners and whether it is a group, of one row.

    Raises:
        DataError: it is malformed.
    """
    cells = split_cells(line, ",", where)
    if len(cells) != header.num_columns:
        raise DataError(f"{where} has {len(cells)} cells where the header has {header.num_columns}")
    image, name = cells[header.image], cells[header.name]
    group = "" if header.group is None else cells[header.group]
    if not image or not name:
        raise DataError(f"{where} needs an ImageID and a LabelName")
    try:
        corners = [parse_number(cells[i], decimal_comma=True) for i in header.corners]
    except ValueError as error:
        raise DataError(f"{where} needs numbers XMin, XMax, YMin, YMax: {error}") from error
    if group.encode() not in _GROUP_FLAGS:
        raise DataError(f"{where}: {_IS_GROUP} is 1, 0 or -1, not {group!r}")
    return image.encode(), name.encode(), corners, group == "1"
