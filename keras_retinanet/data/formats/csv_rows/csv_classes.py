"""Files of classes beside CSV files of boxes: rows name,id."""

from pathlib import Path

from keras_retinanet.data.formats.text_lines import guess_delimiter, read_lines, split_cells
from keras_retinanet.errors import DataError

_ID_TITLES = ("id", "class_id", "label", "label_id", "index")


def read_classes(path: Path) -> dict[str, int]:
    """Return the ids of the classes by name, in the order of the ids; ids may have gaps.

    Rows may also be id,name. A header, remarks (#) and empty cells at the end are read over.

    Raises:
        DataError: the file cannot be read or names no class, or a row is malformed (with its line).
    """
    lines = read_lines(path)
    delimiter = guess_delimiter(next((line for line in lines if line.strip()), ","))
    ids: dict[str, int] = {}
    is_first = True
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}:{number}"
        cells = split_cells(line, delimiter, where)
        while len(cells) > 2 and not cells[-1]:
            cells.pop()
        is_header = (
            is_first
            and len(cells) == 2
            and not {*_ID_TITLES}.isdisjoint(cell.lower() for cell in cells)
        )
        is_first = False
        if is_header:
            continue
        name, class_id = _row(cells, where)
        if name in ids or class_id in ids.values():
            raise DataError(f"{where}: the class {name!r} or its id {class_id} is there already")
        ids[name] = class_id
    if not ids:
        raise DataError(f"{path} names no class: its rows are name,id")
    return dict(sorted(ids.items(), key=lambda item: item[1]))


def _row(cells: list[str], where: str) -> tuple[str, int]:
    if len(cells) == 2 and all(cells):
        for name, text in (cells, cells[::-1]):
            try:
                return name, int(text)
            except ValueError:
                continue
    raise DataError(f"{where}: rows of a classes file are name,id with a whole number id")
