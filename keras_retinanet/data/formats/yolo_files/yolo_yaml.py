"""The YAML of a YOLO data set: its classes, its splits, and the folders and lists that it names."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_retinanet.config.yaml_files import did_you_mean, shown
from keras_retinanet.data.formats.text_lines import read_lines
from keras_retinanet.errors import DataError
from keras_retinanet.system.buckets.bucket_address import place_in
from keras_retinanet.system.buckets.incoming import staged

# What the file calls splits; other keys may be splits, too, where they are named.
SPLIT_KEYS = ("train", "val", "test")
# What else stands for "val".
_VAL_KEYS = ("val", "validation", "valid")
_MAX_CLASSES = 100_000
# A path of another computer, or of a place that the data set has left.
_SPLIT_WORD = re.compile(r"(?i)train|val|test")
_FOREIGN = re.compile(r"/|[A-Za-z]:|~|\.\.")


class NoSuchPlace(DataError):
    """The folder or list that a split names is not there."""


@dataclass(frozen=True)
class YoloYaml:
    """What a data set says of itself.

    Attributes:
        values: what is in its YAML, or would be.
        path: the file to name in messages.
        folder: the folder that paths are relative to.
    """

    values: Mapping[str, Any]
    path: Path
    folder: Path


@dataclass(frozen=True)
class Part:
    """What a split, or a part of it, is read from.

    Attributes:
        place: a folder of images, or a .txt list of them.
        labels: the folder of their labels, where the YAML names one.
        moved_from: what the YAML says, if `place` is no more than its end.
    """

    place: Path
    labels: Path | None = None
    moved_from: str | None = None


def present_splits(values: Mapping[str, Any]) -> list[str]:
    """Return the splits that a file has, of the usual ones."""
    return [key for key in SPLIT_KEYS if split_entry(values, key)]


def split_entry(values: Mapping[str, Any], split: str) -> Any:
    """Return what a file says of a split; "validation" and "valid" stand for "val"."""
    keys = _VAL_KEYS if split == "val" else (split,)
    return next((values[key] for key in keys if values.get(key)), None)


def class_names(yaml: YoloYaml) -> dict[int, str]:
    """Return the names by class id, in the order of the ids.

    Raises:
        DataError: there are no names, or they cannot be used.
    """
    count, path = _count(yaml), yaml.path
    names = _listed_names(yaml, count)
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
        raise DataError(
            f"{path}: nc = {shown(count)}, but there are {len(result)} names: correct one of them"
        )
    return dict(sorted(result.items()))


def _count(yaml: YoloYaml) -> Any:
    """Return the number of classes that the file gives, also as a text."""
    count = yaml.values.get("nc")
    if isinstance(count, str) and re.fullmatch(r"\s*\d{1,6}\s*", count):
        return int(count)
    return count


def _listed_names(yaml: YoloYaml, count: Any) -> dict[Any, Any]:
    """Return the names by number, unchecked."""
    names = yaml.values.get("names")
    if names is None and isinstance(count, int) and 0 < count < _MAX_CLASSES:
        names = [f"class_{i}" for i in range(count)]
    if isinstance(names, str) and os.path.isfile(yaml.folder / names):
        names = _names_in_file(yaml.folder / names)
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataError(
            f"{yaml.path}: 'names' must list the classes, or map their numbers to names, or name "
            "a file of them, one to a line"
        )
    return names


def _names_in_file(path: Path) -> list[str]:
    names = [line.strip() for line in read_lines(path)]
    while names and not names[-1]:
        names.pop()
    if "" in names:
        raise DataError(
            f"{path}:{names.index('') + 1}: an empty line, where the name of class "
            f"{names.index('')} is expected"
        )
    return names


def keypoint_values(yaml: YoloYaml) -> int | None:
    """Return how many numbers of keypoints follow each box, as `kpt_shape` says.

    Raises:
        DataError: it is not [number of keypoints, 2 or 3].
    """
    shape = yaml.values.get("kpt_shape")
    if shape is None:
        return None
    is_shape = (
        isinstance(shape, list)
        and len(shape) == 2
        and all(isinstance(n, int) and not isinstance(n, bool) for n in shape)
        and 0 < shape[0] < _MAX_CLASSES
        and shape[1] in (2, 3)
    )
    if not is_shape:
        raise DataError(
            f"{yaml.path}: kpt_shape = {shown(shape)}: expected [number of keypoints, 2 or 3]"
        )
    return int(shape[0] * shape[1])


def split_parts(yaml: YoloYaml, split: str) -> list[Part]:
    """Return what a split is read from.

    Raises:
        DataError: there is no such split, or what it names is not there.
    """
    entry = split_entry(yaml.values, split)
    if not entry:
        raise DataError(
            f"{yaml.path} has no {split!r}: "
            f"{did_you_mean(split, [str(key) for key in yaml.values])}"
        )
    parts = []
    for item in entry if isinstance(entry, list) else [entry]:
        images, labels = item, None
        if isinstance(item, dict) and set(item) <= {"images", "annotations"}:
            images, labels = item.get("images"), item.get("annotations")
        if not isinstance(images, str) or not isinstance(labels, str | None):
            raise DataError(
                f"{yaml.path}: {split} must name a folder of images, a .txt list, or several of "
                "them; or {images: FOLDER, annotations: FOLDER}"
            )
        place, moved_from = _find(yaml, images)
        labels = labels or yaml.values.get("annotations")
        folder = _find(yaml, labels)[0] if isinstance(labels, str) else None
        parts.append(Part(place, folder, moved_from))
    return parts


def roots(yaml: YoloYaml) -> list[Path]:
    """Return the folders that paths may be relative to.

    `path` may be relative to a folder that only the exporting tool knows, or repeat the name of the
    folder that the file is in.
    """
    here, given = yaml.folder, yaml.values.get("path") or yaml.values.get("images")
    if not isinstance(given, str | int) or isinstance(given, bool) or given == "":
        return [staged(here)]
    text = os.path.expanduser(os.path.expandvars(_portable(str(given))))
    return [staged(here)] if text in (".", "./") else [staged(place_in(here, text)), staged(here)]


def _find(yaml: YoloYaml, text: str) -> tuple[Path, str | None]:
    """Return the folder or list that an entry names; and the entry, if only its end is there.

    Raises:
        NoSuchPlace: nothing is there.
        DataError: it may be one of two.
    """
    spelt = _portable(text)
    # A quote that closes nothing is a part of a plain text in YAML.
    spellings = dict.fromkeys((text, spelt, spelt.strip("'\""), os.path.expanduser(spelt)))
    tops = roots(yaml)
    tried = [staged(place_in(top, s)) for top in tops for s in spellings]
    found = next((place for place in tried if os.path.exists(place)), None)
    inside = re.sub(r"^(\.\./)+", "", spelt)  # Roboflow writes ../train/images for train/images
    if inside != spelt:
        within = [top / inside for top in tops if os.path.exists(top / inside)]
        if found and within and not yaml.values.get("path") and not found.samefile(within[0]):
            if "roboflow" not in yaml.values:
                raise DataError(
                    f"{yaml.path}: {text} may be {within[0]} or {os.path.normpath(found)}: write "
                    "the one that is meant, without ../"
                )
            found = within[0]
        tried += [top / inside for top in tops]
        found = found or next(iter(within), None)
    if found:
        return _tidy(found), None
    end = _existing_end(yaml.folder, spelt.strip("'\""))
    if end:
        return end, text
    raise NoSuchPlace(
        f"{yaml.path}: there is no {text}: looked for {', '.join(dict.fromkeys(map(str, tried)))}"
    )


def _existing_end(here: Path, text: str) -> Path | None:
    """Return the longest end of a path of elsewhere that is there below the YAML's folder."""
    if not _FOREIGN.match(text):
        return None
    parts = [part for part in text.split("/") if part not in ("", ".", "..", "~")]
    for i in range(len(parts)):
        if os.path.exists(here.joinpath(*parts[i:])):
            return here.joinpath(*parts[i:])
        if _SPLIT_WORD.search(parts[i]):  # without it, the images of all splits may be there
            return None
    return None


def _tidy(place: Path) -> Path:
    """Return the path without "..", where that is the same file, so that it lies below its folder
    by name, too."""
    plain = Path(os.path.normpath(place))
    return plain if ".." in place.parts and plain.exists() and plain.samefile(place) else place


def _portable(text: str) -> str:
    return text.replace("\\", "/")
