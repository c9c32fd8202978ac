"""Folders of data sets in YOLO's format: with Ultralytics' YAML, or with a list of class names."""

import re
from collections.abc import Sequence
from pathlib import Path

from keras_retinanet.config.yaml_files import read_yaml
from keras_retinanet.data.formats.text_lines import read_lines
from keras_retinanet.data.formats.yolo_files.yolo_labels import LabelFinder
from keras_retinanet.data.formats.yolo_files.yolo_yaml import present_splits
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES, walk
from keras_retinanet.data.layouts.places import (
    Settings,
    as_yaml,
    files,
    holds_images,
    split_folders,
    split_of,
    subfolder,
    subfolders,
    told_split,
)
from keras_retinanet.errors import ConfigError, DataError

YAML_SUFFIXES = (".yaml", ".yml")
# Lists of class names, one to a line, as tools call them; the likeliest first.
NAME_FILES = (
    "classes.txt", "obj.names", "_darknet.labels", "classes.names", "data.names", "names.txt",
    "predefined_classes.txt", "labels.txt",
)  # fmt: skip
# What a .txt list of images may be called, as well as by a split: FiftyOne's.
_LIST_NAMES = ("images.txt",)
# A row of a label file begins so; KITTI's with a word.
_LABEL_ROW = re.compile(r"\s*\d+(\.0+)?(\s+[-+.\deE]+){4,}\s*$")
_NUM_LOOKED_AT = 20
_MAX_CLASSES = 1000
# Folders above that a part of a data set is told by: train/images is two below.
_NUM_ABOVE = 2
# What Ultralytics' file may say of this package's.
_OUR_KEYS = ("val_share", "val_seed", "val_groups")


def yolo_layout(folder: Path) -> Settings | None:
    """A YAML file with names, and train or val; or images, label files and a list of classes.

    Raises:
        ConfigError: it cannot be told which file to use, or classes without names are labelled.
    """
    found = {}
    names_only: Settings = {}
    for path in files(folder, *YAML_SUFFIXES):
        values = read_yaml(path)
        settings = yolo_settings(path.name, values)
        if settings:
            found[path.name] = settings
        elif "format" not in values and isinstance(values.get("names"), list | dict):
            names_only = {key: values[key] for key in ("names", "kpt_shape") if key in values}
    if len(found) > 1 and "data.yaml" not in found:
        raise ConfigError(f"{folder} holds {', '.join(found)}: name the one to use")
    if found:
        return found.get("data.yaml") or next(iter(found.values()))
    return _without_yaml(folder, names_only)


def yolo_settings(name: str, values: Settings) -> Settings | None:
    splits = {key: key for key in present_splits(values)}
    if "format" in values or not {"names", "nc"} & set(values) or not splits:
        return None
    ours = {key: values[key] for key in _OUR_KEYS if key in values}
    return {"format": "yolo", "data_yaml": name, "splits": splits, **ours}


def _without_yaml(folder: Path, names: Settings) -> Settings | None:
    """Return the settings of images with YOLO's label files and a list of classes."""
    places = _lists(folder) or _split_places(folder) or _one_place(folder)
    labels = _some_labels(folder, places) if places else []
    if not labels or not all(is_label_file(label) for label in labels):
        return None
    found = names or _names(folder)
    if not found and _is_nothing_else(folder):
        raise ConfigError(
            f"{folder} holds YOLO's label files, but no names of classes: {_names_above(folder)}"
            "write classes.txt, one name to a line in the order of their numbers, or a data.yaml: "
            f"{as_yaml({'format': 'yolo', 'names': numbered_names(labels), **places})}"
        )
    return {"format": "yolo", **found, **places} if found else None


def _names_above(folder: Path) -> str:
    """Return the advice to give a folder above, where a YAML or list of classes lies there."""
    for above in [*folder.absolute().parents][:_NUM_ABOVE]:
        if above.parent != above:
            found = files(above, "data.yaml", "data.yml", "dataset.yaml", *NAME_FILES)
            if found:
                return f"{found[0].name} lies in {above}: give that folder if it is the whole, or "
    return ""


def _names(folder: Path) -> Settings:
    """Return the setting of the list of classes: in the folder, or among the labels."""
    around = [folder, *subfolders(folder)]
    around += [sub for top in around[1:] for sub in subfolders(top)]
    for name in NAME_FILES:
        lists = [path for sub in around for path in files(sub, name) if path.name.lower() == name]
        if lists and all(_same_text(path, lists[0]) for path in lists):
            return {"names": lists[0].relative_to(folder).as_posix()}
        if lists:
            raise ConfigError(
                f"{lists[0]} and {lists[-1]} list different classes: keep one {name} in {folder}"
            )
    return {}


def _same_text(path: Path, other: Path) -> bool:
    return path.read_bytes().split() == other.read_bytes().split()


def _lists(folder: Path) -> dict[str, str]:
    """Return the lists of images by split: CVAT's and Darknet's train.txt, FiftyOne's images.txt.

    A file that lists no image, such as a README, is none.
    """
    found: dict[str, str] = {}
    for path in files(folder, ".txt"):
        split = told_split(path.stem)
        name = path.name.lower()
        if (split is None and name not in _LIST_NAMES) or not lists_images(path):
            continue
        split = split or split_of(path.stem)
        if split in found:
            raise ConfigError(f"{folder}: {split} may be {found[split]} or {path.name}: keep one")
        found[split] = path.name
    return found


def lists_images(path: Path) -> bool:
    try:
        lines = [line.strip().strip("'\"") for line in read_lines(path)]
    except DataError:
        return False
    lines = [line for line in lines if line][:_NUM_LOOKED_AT]
    return bool(lines) and all(line.lower().endswith(IMAGE_SUFFIXES) for line in lines)


def _split_places(folder: Path) -> dict[str, str]:
    """Return the folders of images by split: images/train, train/images, or train."""
    images = subfolder(folder, "images", "imgs", "image", "img", "JPEGImages")
    for top in [images, folder] if images else [folder]:
        places = {}
        for split, sub in split_folders(top).items():
            inner = subfolder(sub, "images", "imgs", "image", "img")
            if inner or _holds_images_below(sub):
                places[split] = (inner or sub).relative_to(folder).as_posix()
        if places:
            return places
    return {}


def _one_place(folder: Path) -> dict[str, str]:
    """Return the one folder of images as train: images, the folder itself, or its one subfolder."""
    images = subfolder(folder, "images", "imgs", "image", "img", "JPEGImages")
    if images and _holds_images_below(images):
        return {"train": images.name}
    if holds_images(folder):
        return {"train": "."}
    inside = [sub for sub in subfolders(folder) if _holds_images_below(sub)]
    return {"train": inside[0].name} if len(inside) == 1 else {}


def _holds_images_below(folder: Path) -> bool:
    return bool(_some_images(folder))


def _some_images(folder: Path) -> list[Path]:
    """Return the first images in a folder and below, hidden ones left out."""
    found: list[Path] = []
    for parent, names in walk(folder, skip_unreadable=True):
        images = [Path(parent, name) for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
        found += images[:_NUM_LOOKED_AT]
        if len(found) >= _NUM_LOOKED_AT:
            break
    return found[:_NUM_LOOKED_AT]


def numbered_names(labels: Sequence[Path]) -> list[str]:
    """Return a name for each class of which label files have the number: class0, class1, ..."""
    last = 0
    for path in labels[:_MAX_CLASSES]:
        try:
            first = [line.split()[0] for line in read_lines(path) if line.strip()]
            last = max([last, *(int(float(number)) for number in first)])
        except (DataError, ValueError, OverflowError):
            continue
    return [f"class{i}" for i in range(min(last + 1, _MAX_CLASSES))]


def _some_labels(folder: Path, places: dict[str, str]) -> list[Path]:
    """Return the label files of some images, of the first place that has any."""
    finder = LabelFinder([folder])
    for place in places.values():
        is_list = (folder / place).is_file()
        images = _some_images(folder if is_list else folder / place)
        labels = [label for image in images if (label := finder.find(image)) is not None]
        if labels:
            return labels
    return []


def is_label_file(path: Path) -> bool:
    try:
        lines = [line for line in read_lines(path) if line.strip()]
    except DataError:
        return False
    return not lines or any(_LABEL_ROW.match(line) for line in lines)


def _is_nothing_else(folder: Path) -> bool:
    """Return whether no file tells of another format, so that the folder must be YOLO's."""
    return not files(folder, ".json", ".csv", ".xml", ".pbtxt", *YAML_SUFFIXES) and not any(
        ".record" in p.name or ".tfrecord" in p.name for p in folder.iterdir()
    )
