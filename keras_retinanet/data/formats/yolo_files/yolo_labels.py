"""YOLO's label files: where that of an image lies, and what its rows say."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.text_lines import read_lines
from keras_retinanet.errors import DataError

LABEL_SUFFIX = ".txt"
_NUM_BOX_COLUMNS = 5  # class, cx, cy, w, h
_MIN_POLYGON_COLUMNS = 7  # class and three points
# What folders of images, and of their labels, are called; letter case aside.
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
_LABEL_FOLDERS = ("labels", "label", "txt", "txts", "annotations", "annotation")
# Above a folder of images outside the data set's own, labels are looked for this far.
_NUM_FOREIGN_PARENTS = 3
_MAX_TRIED = 4


@dataclass(frozen=True)
class Row:
    """An object. box: x1, y1, x2, y2 in shares of the image.

    Attributes:
        is_shape: the box is that around a polygon or a rotated box.
        may_be_pose: a shape whose every third value might be the visibility of a keypoint.
    """

    number: int
    class_id: int
    box: tuple[float, float, float, float]
    is_shape: bool = False
    may_be_pose: bool = False


class LabelFinder:
    """Finds the label files of images.

    A folder of images below the data set's folder has its labels where the last folder called
    images is called labels (or label, txt, ...); else beside the images, in a folder labels among
    them, or in one above them, with the same subfolders or with none. Only names below the data
    set's folder count: what lies above it may be called images, too. The first file that is there
    is taken. Letter case does not matter where nothing is spelt exactly.

    Args:
        bases: folders of the data set: the images lie below one of them, or elsewhere.
        given: of images below the first folder, the labels lie below the second: nothing else is
            tried.
    """

    def __init__(self, bases: Sequence[Path], given: tuple[Path, Path] | None = None) -> None:
        self._bases = bases
        self._given = given
        self._listings: dict[Path, dict[str, str]] = {}
        self._candidates: dict[Path, list[Path]] = {}

    def find(self, image: Path) -> Path | None:
        """Return the label file of an image, if there is one."""
        stem = os.path.splitext(image.name)[0]
        for folder in self.folders(image.parent):
            listing = self._listing(folder)
            for name in (stem + LABEL_SUFFIX, image.name + LABEL_SUFFIX):
                found = listing.get(name) or listing.get(name.lower())
                if found:
                    return folder / found
        return None

    def tried(self, image: Path) -> str:
        """Return some of the places where the label file of an image would be, for a message."""
        name = os.path.splitext(image.name)[0] + LABEL_SUFFIX
        usual = self._usual_folder(image.parent)
        first = [] if self._given or usual is None else [usual]
        places = dict.fromkeys(f"{folder / name}" for folder in first + self.folders(image.parent))
        return ", ".join(list(places)[:_MAX_TRIED])

    def folders(self, folder: Path) -> list[Path]:
        """Return the folders where labels of the images in a folder may be, the likeliest first."""
        if folder not in self._candidates:
            found = self._explicit(folder) if self._given else self._guessed(folder)
            self._candidates[folder] = list(dict.fromkeys(found))
        return self._candidates[folder]

    def _listing(self, folder: Path) -> dict[str, str]:
        """Return the label files in a folder, by their names and by those in lower case."""
        if folder not in self._listings:
            try:
                names = sorted(n for n in os.listdir(folder) if n.lower().endswith(LABEL_SUFFIX))
            except (OSError, ValueError):  # a path with a zero in it
                names = []
            by_lower = {name.lower(): name for name in reversed(names)}
            self._listings[folder] = {**by_lower, **{name: name for name in names}}
        return self._listings[folder]

    def _explicit(self, folder: Path) -> list[Path]:
        images, labels = self._given or (folder, folder)
        below = folder.relative_to(images) if folder.is_relative_to(images) else Path()
        return [labels / below, labels / images.name / below, labels]

    def _base_and_parts(self, folder: Path) -> tuple[Path, tuple[str, ...]]:
        """Return the data set's folder that a folder is below, and the names from there to it."""
        for base in self._bases:
            if folder.is_relative_to(base):
                return base, folder.relative_to(base).parts
        depth = min(_NUM_FOREIGN_PARENTS, len(folder.parts) - 1)
        return Path(*folder.parts[: len(folder.parts) - depth]), folder.parts[-depth:]

    def _usual_folder(self, folder: Path) -> Path | None:
        """Return the folder that Ultralytics' rule names, if there is a folder called images."""
        base, parts = self._base_and_parts(folder)
        for i in range(len(parts) - 1, -1, -1):
            if parts[i].lower() in _IMAGE_FOLDERS:
                return base.joinpath(*parts[:i], _LABEL_FOLDERS[0], *parts[i + 1 :])
        return None

    def _guessed(self, folder: Path) -> Iterator[Path]:
        base, parts = self._base_and_parts(folder)
        backwards = range(len(parts) - 1, -1, -1)
        above = [base.joinpath(*parts[:i]) for i in range(len(parts) + 1)]
        is_images = [part.lower() in _IMAGE_FOLDERS for part in parts]
        for i in backwards:
            if is_images[i]:
                yield from (f.joinpath(*parts[i + 1 :]) for f in _label_folders(above[i]))
        yield folder
        yield from _label_folders(folder)
        for i in backwards:
            for labels in _label_folders(above[i]):
                if not is_images[i]:
                    yield labels.joinpath(*parts[i + 1 :])
                yield labels.joinpath(*parts[i:])
                yield labels


def _label_folders(folder: Path) -> list[Path]:
    """Return the subfolders that are called as folders of labels are, the likeliest first."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.name.lower() in _LABEL_FOLDERS)
    except (OSError, ValueError):  # a path with a zero in it
        return []
    ranked = sorted(names, key=lambda n: (n not in _LABEL_FOLDERS, _LABEL_FOLDERS.index(n.lower())))
    return [folder / name for name in ranked if (folder / name).is_dir()]


def read_rows(path: Path, keypoint_values: int | None) -> list[Row]:
    """Return the objects in a label file.

    Args:
        keypoint_values: how many numbers of keypoints follow each box; None: there are none, and
            longer rows are polygons.

    Raises:
        DataError: a row is malformed (with its line).
    """
    try:
        lines = read_lines(path)
    except DataError as error:
        stop("label file that cannot be read", str(error), str(error))
        return []
    rows = (
        _parse(line, number, f"{path}:{number}", keypoint_values)
        for number, line in enumerate(lines, 1)
        if line.strip()
    )
    return [row for row in rows if row is not None]


def _parse(line: str, number: int, where: str, keypoint_values: int | None) -> Row | None:
    columns = line.split()
    try:
        class_id, *values = map(float, columns)
    except ValueError as error:
        _stop_at(where, "row with what is no number", f"expected numbers: class cx cy w h: {error}")
        return None
    wrong = _wrong_length(len(columns), keypoint_values)
    if wrong:
        _stop_at(where, "row of a wrong length", wrong)
        return None
    if not class_id.is_integer():  # neither are NaN and infinity
        text = f"the class {columns[0]!r} is not a whole number"
        _stop_at(where, "class that is not a whole number", text)
        return None
    if keypoint_values is not None or len(columns) == _NUM_BOX_COLUMNS:
        cx, cy, width, height = values[:4]
        box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
        return Row(number, int(class_id), box)
    xs, ys = values[::2], values[1::2]
    if any(v != v for v in values):  # min and max pass NaN over
        xs = ys = [float("nan")]
    box = (min(xs), min(ys), max(xs), max(ys))
    return Row(number, int(class_id), box, True, _may_be_pose(values))


def _wrong_length(num_columns: int, keypoint_values: int | None) -> str | None:
    if keypoint_values is not None:
        wanted = _NUM_BOX_COLUMNS + keypoint_values
        if num_columns == wanted:
            return None
        return (
            f"expected {wanted} columns, class cx cy w h and {keypoint_values} of keypoints, as "
            f"kpt_shape says, not {num_columns} columns"
        )
    is_polygon = num_columns >= _MIN_POLYGON_COLUMNS and num_columns % 2 == 1
    if num_columns == _NUM_BOX_COLUMNS or is_polygon:
        return None
    hint = ""
    if num_columns == _NUM_BOX_COLUMNS + 1:
        hint = (
            " (if the last is a confidence, these are predictions: take it away to train on them)"
        )
    elif num_columns > _NUM_BOX_COLUMNS:
        hint = " (if they are keypoints, kpt_shape: [number, 2 or 3] in the YAML says so)"
    return (
        "expected class cx cy w h, or a class and the points of a polygon, not "
        f"{num_columns} columns{hint}"
    )


def _may_be_pose(values: list[float]) -> bool:
    """Return whether every third value behind a box is 0, 1 or 2, as visibilities are."""
    flags = values[6::3]
    return len(values) % 3 == 1 and len(flags) > 1 and all(flag in (0, 1, 2) for flag in flags)


def _stop_at(where: str, problem: str, text: str) -> None:
    stop(problem, f"{where}: {text}", f"{where}: {text}")
