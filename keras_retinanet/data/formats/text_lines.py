"""Annotation files that are read line by line: their text, with the place of every fault."""

import codecs
import csv
from pathlib import Path

from keras_retinanet.data.faults import stop
from keras_retinanet.errors import DataError

DELIMITERS = (",", ";", "\t")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file, without line ends (of any system) and byte order mark.

    The text is UTF-8, or UTF-16 with a byte order mark, as spreadsheets write it.

    Raises:
        DataError: the file cannot be read, or is not such text (with the line).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}:{line}: not UTF-8 text ({error.reason}): save it as such"
        ) from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_names(path: Path) -> list[str]:
    """Return the names in a file of one name to a line, in order.

    Raises:
        DataError: the file cannot be read, or a name is there twice.
    """
    seen: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        name = line.strip()
        if name in seen:
            text = f"{path}:{number}: {name!r} is listed already in line {seen[name]}"
            stop("name listed more than once", text, text)
        elif name:
            seen[name] = number
    return list(seen)


def split_cells(line: str, delimiter: str, where: str) -> list[str]:
    """Return the cells of a line of CSV, without spaces around them.

    Raises:
        DataError: quotes are not closed; `where` names the place.
    """
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]  # four times as fast
    try:
        (cells,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise DataError(f"{where}: not a row of CSV: {error}") from error
    return [cell.strip() for cell in cells]


def guess_delimiter(line: str) -> str:
    """Return the delimiter that a line of CSV has most of."""
    return max(DELIMITERS, key=line.count)


def parse_number(text: str, *, decimal_comma: bool = False) -> float:
    """Return the number that a text is, "0,5" included where commas are no delimiters.

    Raises:
        ValueError: it is none.
    """
    if decimal_comma and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    return float(text)
