"""Reader of AutoML's CSV (Vertex AI, Model Maker): SPLIT,image,label and shares of the image."""

from pathlib import Path

from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.csv_rows.csv_titles import is_number
from keras_retinanet.data.formats.text_lines import read_lines, split_cells
from keras_retinanet.data.formats.tools.labelled_images import (
    LabelledImage,
    LabelledObject,
    Labels,
    number,
)
from keras_retinanet.errors import DataError

# The first column, and the split that it stands for; the last is for AutoML to divide.
USES = {
    "TRAIN": "train",
    "TRAINING": "train",
    "VALIDATE": "val",
    "VALIDATION": "val",
    "TEST": "test",
    "UNASSIGNED": "train",
}
_NUM_COLUMNS = 11
# Two opposite corners, x and y of each: they have values where the other two may be empty.
_CORNERS = (3, 4, 7, 8)


def read_automl_csv(path: Path) -> Labels:
    """Read a file; the first column may be left out. A row without a box is an image without any.

    Raises:
        DataError: it cannot be read, or a row is not of this kind (with its line).
    """
    labels = Labels(is_normalized=True)
    for line_number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{line_number}"
        try:
            cells = split_cells(line, ",", where)
        except DataError as error:
            stop("row that is no CSV", str(error), str(error))
            continue
        use = cells[0].upper()
        if use not in USES:
            if line_number == 1 and _is_titles(cells):
                continue
            cells.insert(0, "UNASSIGNED")
            use = "UNASSIGNED"
        cells += [""] * (_NUM_COLUMNS - len(cells))
        if len(cells) != _NUM_COLUMNS or not cells[1]:
            stop(
                "row that is not AutoML's",
                where,
                f"{where}: rows are SPLIT,image,label,x1,y1,,,x2,y2,,",
            )
            continue
        image = LabelledImage(cells[1], subset=use)
        labels.images.append(image)
        corners = [cells[i] for i in _CORNERS]
        if not any(cells[2:]):
            continue
        try:
            x1, y1, x2, y2 = (number(cell) for cell in corners)
        except ValueError as error:
            stop(
                "row without a box of four numbers",
                where,
                f"{where} needs x1, y1 and x2, y2 in columns 4, 5, 8 and 9: {error}",
            )
            continue
        if not cells[2]:
            stop("box without a class", where, f"{where} has a box without a label")
            continue
        box = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        image.objects.append(LabelledObject(cells[2], box, where))
    return labels


def _is_titles(cells: list[str]) -> bool:
    """Return whether a row is one of titles: it has no number, and no address of an image."""
    if len(cells) <= _CORNERS[0] or cells[0].startswith("gs://"):
        return False
    return not any(is_number(cell) for cell in cells)


def is_automl_csv(first_line: str) -> bool:
    """Return whether the first line of a CSV file is such a row."""
    cells = [cell.strip() for cell in first_line.split(",")]
    if cells[0].upper() in USES and len(cells) >= 3:
        return True
    return cells[0].startswith("gs://") and len(cells) >= 9
