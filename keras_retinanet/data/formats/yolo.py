"""Reader of YOLO data sets: a data.yaml as Ultralytics has it, and a label file for each image."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.config.yaml_files import did_you_mean, read_yaml
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

# What the file calls splits; other keys may be splits, too, where they are named.
SPLIT_KEYS = ("train", "val", "test")
# YOLO's tools read these, too: they are reported, where a shorter list would pass them over.
_ALL_SUFFIXES = (*IMAGE_SUFFIXES, ".webp", ".tif", ".tiff", ".mpo", ".dng", ".heic", ".pfm")
# Annotation tools leave these beside the labels.
_NOT_LABELS = ("classes.txt", "notes.txt")
_NUM_BOX_COLUMNS = 5  # class, cx, cy, w, h
_MIN_POLYGON_COLUMNS = 7  # class and three points

_Box = tuple[int, float, float, float, float]


def read_yolo(data_yaml: Path, split: str) -> RawAnnotations:
    """Read a split, `split` being its key in `data_yaml`.

    The labels of `images/a.jpg` are in `labels/a.txt`; an image without a file there has no
    objects. A row with a polygon counts as the box around it.

    Raises:
        DataError: a file is missing or malformed (with its line), or a class has no name.
    """
    values = read_yaml(data_yaml)
    names = _class_names(values, data_yaml)
    findings: list[Finding] = []
    paths = _image_paths(values, data_yaml, split, findings)
    label_of = {class_id: label for label, class_id in enumerate(names)}
    rows, places, box_images = [], [], []
    for i, path in enumerate(paths):
        label_file = _label_path(path)
        for number, (class_id, *box) in _read_labels(label_file):
            if class_id not in label_of:
                raise DataError(
                    f"{label_file}:{number}: the class {class_id} has no name in {data_yaml}, "
                    f"whose classes are {_short(names)}"
                )
            rows.append((label_of[class_id], *box))
            places.append(f"{label_file}:{number}")
            box_images.append(i)

    table = np.array(rows, np.float64).reshape(-1, 5)
    return RawAnnotations(
        source=f"{data_yaml} {split}",
        image_paths=[str(path) for path in paths],
        image_ids=_image_ids(paths),
        declared_sizes=[None] * len(paths),
        box_images=np.array(box_images, np.int64),
        boxes=table[:, 1:],
        labels=table[:, 0].astype(np.int32),
        is_ignored=np.zeros(len(table), bool),
        areas=np.full(len(table), np.nan),
        class_names=tuple(names.values()),
        category_ids=tuple(names),
        describe_box=lambda t: places[t],
        findings=findings,
        boxes_normalized=True,
    )


def yolo_splits(data_yaml: Path) -> list[str]:
    """Return the keys of the splits that a data.yaml has; "validation" stands for "val"."""
    values = read_yaml(data_yaml)
    return [key for key in SPLIT_KEYS if _entry(values, key)]


def _entry(values: dict[str, Any], split: str) -> Any:
    if split == "val":
        return values.get("val") or values.get("validation")
    return values.get(split)


def _class_names(values: dict[str, Any], path: Path) -> dict[int, str]:
    """Return the names by class id, in the order of the ids."""
    names, count = values.get("names"), values.get("nc")
    if names is None and isinstance(count, int) and 0 < count < 100_000:
        names = [f"class_{i}" for i in range(count)]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataError(f"{path}: 'names' must list the classes, or map their numbers to names")
    result = {}
    for key, name in names.items():
        if not re.fullmatch(r"\d{1,6}", str(key)):
            raise DataError(f"{path}: names: {key!r} is not the number of a class (0, 1, ...)")
        if isinstance(name, bool) or not isinstance(name, str | int | float) or name == "":
            raise DataError(f"{path}: names: {key}: {name!r} is not a name: put it in quotes")
        result[int(key)] = str(name)
    if len(result) < len(names) or len(set(result.values())) < len(result):
        raise DataError(f"{path}: names: a class is listed twice")
    if count is not None and count != len(result):
        raise DataError(f"{path}: nc = {count!r}, but there are {len(result)} names")
    return dict(sorted(result.items()))


def _image_paths(
    values: dict[str, Any], data_yaml: Path, split: str, findings: list[Finding]
) -> list[Path]:
    entry = _entry(values, split)
    if not entry:
        raise DataError(f"{data_yaml} has no {split!r}: {did_you_mean(split, list(values))}")
    entries = entry if isinstance(entry, list) else [entry]
    if not all(isinstance(e, str) for e in entries):
        raise DataError(
            f"{data_yaml}: {split} must name a folder of images, a .txt list, or several of them"
        )
    paths = []
    for text in entries:
        place = _find(values, data_yaml, text)
        if os.path.isdir(place):
            found = sorted(_files(place, _ALL_SUFFIXES))
            _report_lonely_labels(place, found, findings)
        else:
            found = _read_list(place, data_yaml)
        paths += found
    seen: set[Path] = set()
    for path in paths:
        if path in seen:
            raise DataError(f"{data_yaml}: {split} lists {path} more than once")
        seen.add(path)
    return paths


def _find(values: dict[str, Any], data_yaml: Path, text: str) -> Path:
    """Return the folder or list that an entry names.

    `path` may be relative to a folder that only the exporting tool knows, or repeat the name of the
    folder that the file is in; and Roboflow writes ../train/images for train/images.
    """
    here = data_yaml.parent
    roots = [here / str(values["path"]), here] if values.get("path") else [here]
    tried = [root / t for root in roots for t in dict.fromkeys((text, text.removeprefix("../")))]
    for place in tried:
        if os.path.exists(place):  # Path.exists raises for names that are too long
            return place
    raise DataError(
        f"{data_yaml}: there is no {text}: looked for {', '.join(dict.fromkeys(map(str, tried)))}"
    )


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return [
        Path(parent, name)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(suffixes) and not name.startswith(".")
    ]


def _read_list(path: Path, data_yaml: Path) -> list[Path]:
    """Return the images that a .txt file lists, relative to it or to the data set."""
    lines = [line.strip() for line in _read_text(path).splitlines()]
    roots = (path.parent, data_yaml.parent)

    def image(line: str) -> Path:
        places = [root / line for root in roots]
        return next((place for place in places if os.path.exists(place)), places[0])

    return [image(line) for line in lines if line]


def _label_path(image: Path) -> Path:
    """Return the label file of an image: the last folder "images" becomes "labels"."""
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return Path(os.path.splitext(Path(*parts))[0] + ".txt")


def _report_lonely_labels(folder: Path, images: list[Path], findings: list[Finding]) -> None:
    labels = _label_path(folder / "a.jpg").parent
    if labels == folder or not os.path.isdir(labels):
        return
    expected = {_label_path(image) for image in images}
    for file in sorted(_files(labels, (".txt",))):
        if file not in expected and file.name not in _NOT_LABELS:
            findings.append(Finding("label file without an image", str(file), "noted"))


def _read_labels(path: Path) -> list[tuple[int, _Box]]:
    """Return (line, (class id, x1, y1, x2, y2)) of the objects, in shares of the image."""
    if not os.path.exists(path):
        return []
    lines = _read_text(path).splitlines()
    return [(n, _parse_row(line, f"{path}:{n}")) for n, line in enumerate(lines, 1) if line.strip()]


def _parse_row(line: str, where: str) -> _Box:
    """Return (class id, x1, y1, x2, y2) of a row, in shares of the image."""
    columns = line.split()
    is_polygon = len(columns) >= _MIN_POLYGON_COLUMNS and len(columns) % 2 == 1
    try:
        class_id, *values = map(float, columns)
    except ValueError as error:
        raise DataError(f"{where}: expected numbers: class cx cy w h: {error}") from error
    if not (len(columns) == _NUM_BOX_COLUMNS or is_polygon):
        raise DataError(
            f"{where}: expected class cx cy w h, or a class and the points of a polygon, not "
            f"{len(columns)} columns"
        )
    if not class_id.is_integer():  # neither are NaN and infinity
        raise DataError(f"{where}: the class {columns[0]!r} is not a whole number")
    if is_polygon:
        xs, ys = values[::2], values[1::2]
        if any(v != v for v in values):  # min and max pass NaN over
            xs = ys = [float("nan")]
        return int(class_id), min(xs), min(ys), max(xs), max(ys)
    cx, cy, width, height = values
    return int(class_id), cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file in UTF-8: {error}") from error


def _image_ids(paths: list[Path]) -> list[str]:
    """Return the names without suffix, or where two are the same, the whole paths."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [path.as_posix() for path in paths]


def _short(names: dict[int, str]) -> str:
    shown = [f"{i}: {name}" for i, name in list(names.items())[:20]]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
