"""Folders and files of data sets in CSV files, Open Images among them."""

import os
import re
from pathlib import Path

from keras_retinanet.data.faults import collect_faults
from keras_retinanet.data.formats.csv_rows.csv_table import Table, read_table
from keras_retinanet.data.formats.text_lines import guess_delimiter, read_lines, split_cells
from keras_retinanet.data.formats.tools.automl_csv import USES
from keras_retinanet.data.layouts.image_folders import image_folder
from keras_retinanet.data.layouts.places import (
    Settings,
    files,
    first_folder,
    one_each,
    split_folders,
    split_of,
    subfolder,
    told_split,
)
from keras_retinanet.errors import ConfigError, DataError

_OPEN_IMAGES = re.compile(r"-annotations-bbox\.csv$", re.IGNORECASE)
_FIFTYONE = "labels/detections.csv"
# Files that a user names so are meant as boxes, whatever is in them.
_PLAIN_NAMES = ("train.csv", "annotations.csv")
_CLASSES = re.compile(r"^_?(classes|class_mapping|class_list|labelmap|label_map)$", re.IGNORECASE)
_OPEN_IMAGES_TITLES = {"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"}
# In the first row of what other tools write, which have readers of their own.
_FOREIGN = re.compile(
    r"region_shape_attributes|^\W*(TRAIN|VALIDATION|TEST|UNASSIGNED)\b\s*,|^\W*set,path",
    re.IGNORECASE,
)
_HEAD_LINES = 50


def csv_layout(folder: Path) -> Settings | None:
    """Files of boxes in the folder, in annotations/, or in folders of splits; in any case.

    train.csv or annotations.csv, val.csv and classes.csv; <set>_labels.csv and images/<set>/;
    <set>/_annotations.csv and _classes.csv.
    """
    paths = _csv_files(folder)
    if not paths:
        return None
    if any(_told(path, folder) == "train" for path in paths):
        # One that tells no split, beside train's, is the whole that they are parts of.
        paths = [path for path in paths if _told(path, folder)]
    found: dict[str, list[str]] = {}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        found.setdefault(_told(path, folder) or "train", []).append(name)
    order = [split for split in ("train", "val", "test") if split in found]
    settings = one_each(folder, "csv", {split: found[split] for split in order})
    if settings is None:
        return None
    inside = _splits_in(paths[0], folder) if len(paths) == 1 else {}
    parts = {s: _split(folder / name, folder) for s, name in settings["splits"].items()}
    settings["splits"] = inside or parts
    return {**settings, **_classes(paths, folder)}


def csv_file(path: Path, content_head: str = "") -> Settings:
    """Return the settings of one CSV file, Open Images' boxes among them."""
    split = told_split(path.stem) or split_of(path.parent.name)
    if is_open_images(path):
        name = told_split(path.stem) or ""
        images = first_folder(path.parent, name, f"images/{name}", "images") or "."
        entry = {"images": images, "annotations": path.name}
        return {"format": "open_images", "splits": {split: entry}, **_descriptions(path.parent)}
    inside = _splits_in(path, path.parent)
    whole = {split: _split(path, path.parent)}
    return {"format": "csv", "splits": inside or whole, **_classes([path], path.parent)}


def classes_file(folder: Path) -> Settings:
    """Return the setting of the classes file, where there is one."""
    found = [path for path in files(folder, ".csv") if _CLASSES.match(path.stem)]
    return {"classes": found[0].name} if len(found) == 1 else {}


def open_images_layout(folder: Path) -> Settings | None:
    """*-annotations-bbox.csv beside images/, images/<split>/ or <split>/; or FiftyOne's folders
    <split>/data/, labels/detections.csv and metadata/classes.csv."""
    found: dict[str, list[dict[str, str]]] = {}
    for split, sub in split_folders(folder).items():
        if (sub / _FIFTYONE).is_file() and is_open_images(sub / _FIFTYONE):
            entry = {"images": f"{sub.name}/data", "annotations": f"{sub.name}/{_FIFTYONE}"}
            found.setdefault(split, []).append(entry)
    if found:
        maps = [p for entry in found.values() for p in _fiftyone_classes(folder, entry[0])]
        settings = one_each(folder, "open_images", found)
        return settings and {**settings, **({"classes": maps[0]} if maps else {})}
    for path in files(folder, "-annotations-bbox.csv"):
        name = _OPEN_IMAGES.sub("", path.name).rpartition("-")[2]
        images = first_folder(folder, name, f"images/{name}", "images")
        found.setdefault(split_of(name), []).append(
            {"images": images or "images", "annotations": path.name}
        )
    settings = one_each(folder, "open_images", found)
    return settings and {**settings, **_descriptions(folder)}


def _fiftyone_classes(folder: Path, entry: dict[str, str]) -> list[str]:
    name = f"{entry['images'].rpartition('/')[0]}/metadata/classes.csv"
    return [name] if (folder / name).is_file() else []


def _descriptions(folder: Path) -> Settings:
    classes = [p for p in files(folder, ".csv") if "class-descriptions" in p.name.lower()]
    return {"classes": classes[0].name} if len(classes) == 1 else {}


def _csv_files(folder: Path) -> list[Path]:
    """Return the CSV files of boxes; those in folders of splits only where there are no others."""
    annotations = subfolder(folder, "annotations", "annotation", "labels", "data", "csv")
    for places in (
        [folder],
        [annotations] if annotations is not None else [],
        list(split_folders(folder).values()),
    ):
        paths = [path for place in places for path in files(place, ".csv") if is_of_boxes(path)]
        if paths:
            return paths
    return []


def is_of_boxes(path: Path) -> bool:
    """Return whether a file holds boxes, as far as its first rows tell."""
    if _CLASSES.match(path.stem) or _OPEN_IMAGES.search(path.name) or is_open_images(path):
        return False
    first = _first_line(path)
    if first is None or _FOREIGN.search(first):
        return False
    if path.name.lower() in _PLAIN_NAMES or told_split(path.stem) == path.stem.lower():
        return True
    try:
        titles = split_cells(first, guess_delimiter(first), str(path))
        if len(titles) < 4 and "bbox" not in first.lower():
            return False
        with collect_faults():  # a row at fault is for the reader to tell
            table = read_table(path, needs_class=False, max_rows=_HEAD_LINES)
    except DataError:
        return False
    return bool(table.image_of)


def is_open_images(path: Path) -> bool:
    return {
        title.strip(' "') for title in (_first_line(path) or "").split(",")
    } >= _OPEN_IMAGES_TITLES


def _first_line(path: Path) -> str | None:
    """Return the first line with text, "" of an empty file; None where it cannot be read."""
    try:
        return next((line for line in read_lines(path) if line.strip()), "")
    except DataError:
        return None


def _told(path: Path, folder: Path) -> str | None:
    return told_split(path.stem) or (
        told_split(path.parent.name) if path.parent != folder else None
    )


def _split(path: Path, base: Path) -> str | dict[str, str]:
    """Return the setting of a split: its file, and where its images are if not beside it."""
    name = path.relative_to(base).as_posix()
    try:
        table: Table | None = read_table(path, needs_class=False, max_rows=_HEAD_LINES)
    except DataError:
        table = None
    names = list(table.image_of)[:5] if table else []
    word = told_split(path.stem) or told_split(path.parent.name) or "train"
    images = image_folder(path, names, words=[path.stem, word]) if names else None
    if images is None or images == path.parent:
        return name
    return {"annotations": name, "images": os.path.relpath(images, base).replace(os.sep, "/")}


def _splits_in(path: Path, base: Path) -> dict[str, dict[str, str]]:
    """Return the splits that a file's own column tells, where it tells more than one.

    Raises:
        ConfigError: two of its words are one split, or one is none.
    """
    try:
        with collect_faults():
            words = sorted(set(read_table(path, needs_class=False).subsets))
    except DataError:
        return {}  # reading the file tells what is wrong with it
    if len(words) < 2:
        return {}
    entry = _split(path, base)
    place = {"annotations": entry} if isinstance(entry, str) else entry
    found: dict[str, dict[str, str]] = {}
    for word in words:
        split = told_split(word) or USES.get(word.upper())
        if split is None or split in found:
            other = f" and {found[split]['subset']!r}" if split else ""
            raise ConfigError(
                f"{path}: its column of splits says {word!r}{other}, where each of train, val and "
                "test is needed by one word: say by `subset` in a data YAML which is which, such "
                f"as {{format: csv, splits: {{train: {{annotations: {path.name}, subset: "
                f"{word!r}}}}}}}"
            )
        found[split] = {**place, "subset": word}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _classes(paths: list[Path], folder: Path) -> Settings:
    """Return the setting of the classes file: that of the folder, or the first split's."""
    for place in dict.fromkeys([folder, *(path.parent for path in paths)]):
        found = classes_file(place)
        if found:
            return {"classes": (place / found["classes"]).relative_to(folder).as_posix()}
    return {}
