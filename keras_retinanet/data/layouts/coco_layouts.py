"""Folders and files of data sets in COCO's format."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from keras_retinanet.data.layouts.image_folders import (
    base_of,
    ends_of,
    image_folder,
    named_folder,
    names_in_json,
)
from keras_retinanet.data.layouts.places import (
    EXAMPLE,
    Settings,
    files,
    holds_images,
    one_each,
    split_folders,
    split_of,
    subfolder,
    told_split,
)
from keras_retinanet.errors import ConfigError

_PREFIX = re.compile(r"^instances[_-]", re.IGNORECASE)
# COCO's own files of other tasks, which lie beside those of boxes.
_OTHER_TASKS = re.compile(r"^(captions|panoptic|stuff|image_info|person_keypoints)[_-]", re.I)
_BOXES = re.compile(rb'"(annotations|categories)"\s*:\s*\[')
# Keys of other formats: Datumaro's, labelme's, VIA's.
_FOREIGN = (b'"dm_format_version"', b'"items"', b'"shapes"', b'"_via_settings"', b'"imagePath"')
_OWN_NAMES = ("_annotations.coco.json",)


def coco_layout(folder: Path) -> Settings | None:
    """COCO files in annotations/, in folders of splits, or in the folder itself, in any case.

    annotations/instances_<set>.json, annotations/<set>.json, <set>/_annotations.coco.json,
    <set>/labels.json, <set>.json, result.json, ...
    """
    found: dict[str, list[dict[str, str]]] = {}
    paths = _coco_files(folder)
    if any(_told(path, folder) == "train" for path in paths):
        # One that tells no split, beside train's, is the whole that they are parts of.
        paths = [path for path in paths if _told(path, folder)]
    for path in paths:
        split = _told(path, folder) or "train"
        annotations = path.relative_to(folder).as_posix()
        entry = {"images": _images(path, folder), "annotations": annotations}
        found.setdefault(split, []).append(entry)
    return one_each(folder, "coco", found)


def json_settings(path: Path) -> Settings:
    """Return the settings for one COCO file, whose images are looked for around it."""
    folder = path.parent
    images = image_folder(path, names_in_json(ends_of(path)), words=_words(path))
    if images is None:
        base = base_of(path)
        name = named_folder(base, _words(path), with_images=True)
        name = name or named_folder(folder.parent, _words(path), with_images=True)
        if name is not None:
            images = base / name if (base / name).is_dir() else folder.parent / name
        elif holds_images(folder):
            images = folder
    if images is None:
        raise ConfigError(f"{path}: no folder of images is beside it; {EXAMPLE}")
    split = told_split(_PREFIX.sub("", path.stem)) or split_of(folder.name)
    relative = os.path.relpath(images, folder).replace(os.sep, "/")
    return {"format": "coco", "splits": {split: {"images": relative, "annotations": path.name}}}


def is_coco(path: Path) -> bool:
    """Return whether a JSON file looks like COCO's; `_annotations.coco.json` and instances_* do."""
    if path.name.lower() in _OWN_NAMES or _PREFIX.match(path.name):
        return True
    content = ends_of(path)
    keys = {match[1] for match in _BOXES.finditer(content)}
    is_foreign = any(key in content for key in _FOREIGN)
    return not is_foreign and (len(keys) == 2 or (b'"images"' in content and bool(keys)))


def _coco_files(folder: Path) -> list[Path]:
    """Return the COCO files of the folder; those of boxes where there are some of other tasks."""
    annotations = subfolder(folder, "annotations", "annotation", "labels")
    places = [folder, *split_folders(folder).values()]
    if annotations is not None:
        places += [annotations, *split_folders(annotations).values()]
    paths: list[Path] = []
    for place in dict.fromkeys(places):
        here = files(place, ".json")
        own = [p for p in here if _PREFIX.match(p.name) or p.name.lower() in _OWN_NAMES]
        here = own or [p for p in here if not _OTHER_TASKS.match(p.name)]
        paths += [path for path in here if is_coco(path)]
    return paths


def _told(path: Path, folder: Path) -> str | None:
    """Return the split that a file's name tells, or that of its folder below the data set's."""
    told = told_split(_PREFIX.sub("", path.stem))
    return told or (told_split(path.parent.name) if path.parent != folder else None)


def _words(path: Path) -> Sequence[str]:
    """Return what the folder of a file's images may be called."""
    name = _PREFIX.sub("", path.stem)
    return [name, told_split(name) or told_split(path.parent.name) or "default"]


def _images(path: Path, folder: Path) -> str:
    """Return the folder of a file's images, relative to the data set's."""
    images = image_folder(path, names_in_json(ends_of(path)), words=_words(path))
    if images is not None:
        return os.path.relpath(images, folder).replace(os.sep, "/")
    name = _PREFIX.sub("", path.stem)
    if path.parent != folder and told_split(path.parent.name) and base_of(path) == path.parent:
        return path.parent.name
    return named_folder(folder, _words(path)) or (name if name != path.stem else ".")
