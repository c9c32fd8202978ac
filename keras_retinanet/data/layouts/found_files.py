"""What lies in a folder of no known layout: files by kind, and the settings that they suggest."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keras_retinanet.data.formats.csv_rows.csv_table import read_table
from keras_retinanet.data.formats.text_lines import read_lines
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES, walk
from keras_retinanet.data.layouts.coco_layouts import is_coco
from keras_retinanet.data.layouts.csv_layouts import is_of_boxes, is_open_images
from keras_retinanet.data.layouts.image_folders import ends_of, image_folder, names_in_json
from keras_retinanet.data.layouts.places import Settings, told_split
from keras_retinanet.data.layouts.tool_layouts import tool_kind
from keras_retinanet.data.layouts.voc_layouts import looks_like_voc
from keras_retinanet.data.layouts.yolo_layouts import NAME_FILES, is_label_file, numbered_names
from keras_retinanet.errors import ConfigError, DataError

# Kinds of annotation files, the likeliest to be meant first, and how they are called.
KINDS = {
    "coco": "COCO file",
    "voc": "VOC XML file",
    "via": "file of VIA",
    "cvat_images": "file of CVAT",
    "createml": "file of CreateML",
    "datumaro": "file of Datumaro",
    "label_studio": "file of Label Studio",
    "hf_metadata": "file of Hugging Face",
    "automl_csv": "CSV file of AutoML",
    "labelme": "file of labelme",
    "open_images": "CSV file of Open Images",
    "csv": "CSV file of boxes",
    "tfrecord": "TFRecord file",
    "yolo": "label file of YOLO",
    "kitti": "label file of KITTI",
}
# A file for each image.
_BY_IMAGE = ("voc", "labelme", "yolo", "kitti")
IMAGE, OTHER = "image", "other file"
# Beyond these, files are taken to be like those before, and folders are not entered.
_MAX_LOOKED_INTO = 10
_MAX_FILES = 50_000
_MAX_DEPTH = 6
_RECORD = re.compile(r"\.(tf)?records?(\b|$)", re.IGNORECASE)
_KITTI_ROW = re.compile(r"\s*[A-Za-z]\S*(\s+[-+.\deE]+){14,15}\s*$")


@dataclass
class FoundFiles:
    """Files below a folder, by what they are: one of KINDS, IMAGE or OTHER."""

    folder: Path
    by_kind: dict[str, list[Path]] = field(default_factory=dict)

    def of(self, kind: str) -> list[Path]:
        return self.by_kind.get(kind, [])

    def summary(self) -> str:
        """Return the counts by kind, each with its first file."""
        told = []
        for kind, paths in sorted(self.by_kind.items(), key=lambda item: _rank(item[0])):
            name = KINDS.get(kind, kind)
            plural = "" if len(paths) == 1 else "s"
            first, _, rest = name.partition(" of ") if " of " in name else (name, "", "")
            name = f"{first}{plural} of {rest}" if rest else f"{first}{plural}"
            told.append(f"{len(paths)} {name} ({paths[0].relative_to(self.folder).as_posix()})")
        return ", ".join(told) or "nothing"


def find_files(folder: Path) -> FoundFiles:
    """Return what lies in a folder and below, hidden files left out."""
    found = FoundFiles(folder)
    num_files = 0
    for parent, names in walk(folder, max_depth=_MAX_DEPTH, skip_unreadable=True):
        seen: dict[str, list[str]] = {}
        for name in names:
            path = Path(parent, name)
            before = seen.setdefault(path.suffix.lower(), [])
            many = len(before) >= _MAX_LOOKED_INTO
            kind = before[-1] if many else _kind(path)
            before.append(kind)
            found.by_kind.setdefault(kind, []).append(path)
        num_files += len(names)
        if num_files > _MAX_FILES:
            break
    return found


def suggested_settings(found: FoundFiles) -> Settings | None:
    """Return the settings of a data YAML for what was found, as far as that can be guessed."""
    kind = next((kind for kind in KINDS if found.of(kind)), None)
    if kind is None or (kind != "tfrecord" and not found.of(IMAGE)):
        return None
    by_split: dict[str, list[Path]] = {}
    for path in found.of(kind):
        by_split.setdefault(_split(path, found.folder), []).append(path)
    order = sorted(by_split, key=("train", "val", "test").index)
    if len(order) == 1:
        by_split = {"train": by_split[order[0]]}
        order = ["train"]
    splits = {split: _SPLIT_OF[kind](found, kind, by_split[split]) for split in order}
    return {"format": kind, **_beside_splits(found, kind), "splits": splits}


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    try:
        if not path.is_file():  # a pipe would be waited for
            return OTHER
        if suffix in IMAGE_SUFFIXES:
            return IMAGE
        if _RECORD.search(path.name):
            return "tfrecord"
        if suffix in (".json", ".jsonl", ".csv", ".xml"):
            kind = tool_kind(path)
            if kind is not None:
                return kind
        looks = _LOOKS.get(suffix, {})
        return next((kind for kind, look in looks.items() if look(path)), OTHER)
    except (ConfigError, DataError, OSError):
        return OTHER


def _is_of_kitti(path: Path) -> bool:
    lines = [line for line in read_lines(path) if line.strip()]
    return bool(lines) and all(_KITTI_ROW.match(line) for line in lines)


def _is_of_yolo(path: Path) -> bool:
    return is_label_file(path) and any(line.strip() for line in read_lines(path))


# By their suffix, the kinds that a file may be of, and what tells.
_LOOKS: dict[str, dict[str, Callable[[Path], bool]]] = {
    ".json": {"coco": is_coco},
    ".xml": {"voc": looks_like_voc},
    ".csv": {"open_images": is_open_images, "csv": is_of_boxes},
    ".txt": {"kitti": _is_of_kitti, "yolo": _is_of_yolo},
}


def _rank(kind: str) -> int:
    """Annotations come first, then images, then the rest."""
    return [*KINDS, IMAGE, OTHER].index(kind)


def _split(path: Path, folder: Path) -> str:
    """Return the split that the name of a file, or of a folder around it, tells."""
    parts = path.relative_to(folder).parts
    return next((s for part in reversed(parts) if (s := told_split(Path(part).stem))), "train")


def _beside_splits(found: FoundFiles, kind: str) -> Settings:
    """Return what a format needs beside the splits."""
    if kind in ("voc", "kitti"):
        return {"root": "."}
    if kind == "tfrecord":
        maps = [path for path in found.of(OTHER) if path.suffix.lower() == ".pbtxt"]
        return {"label_map": _relative(maps[0], found)} if len(maps) == 1 else {}
    if kind != "yolo":
        return {}
    named = [p for name in NAME_FILES for p in found.of(OTHER) if p.name.lower() == name]
    if named:
        return {"names": _relative(named[0], found)}
    return {"names": numbered_names(found.of("yolo"))}


def _by_image(found: FoundFiles, kind: str, paths: Sequence[Path]) -> Settings:
    """Return the folders of the annotation files and of the images with the same names."""
    labels = os.path.commonpath([path.parent for path in paths])
    stems = {path.stem for path in paths}
    folders = Counter(path.parent for path in found.of(IMAGE) if path.stem in stems)
    folders = folders or Counter(path.parent for path in found.of(IMAGE))
    places = {
        "images": _relative(Path(os.path.commonpath(list(folders))), found),
        "annotations": _relative(Path(labels), found),
    }
    return {"folder": ".", **places} if kind == "kitti" else places


def _by_file(found: FoundFiles, kind: str, paths: Sequence[Path]) -> Settings:
    """Return the first annotation file, and the folder of the images that it names."""
    path = paths[0]
    names = []
    if path.suffix.lower() == ".json":
        names = names_in_json(ends_of(path))
    elif kind == "csv":
        names = list(read_table(path, needs_class=False, max_rows=50).image_of)[:5]
    folders = Counter(image.parent for image in found.of(IMAGE))
    last_parts = {name.replace("\\", "/").rpartition("/")[2] for name in names}
    named = Counter(image.parent for image in found.of(IMAGE) if image.name in last_parts)
    images = (image_folder(path, names) if names else None) or (named or folders).most_common()[0][
        0
    ]
    return {"images": _relative(images, found), "annotations": _relative(path, found)}


def _records(found: FoundFiles, kind: str, paths: Sequence[Path]) -> str | list[str]:
    names = [_relative(path, found) for path in paths]
    return names[0] if len(names) == 1 else names


_SPLIT_OF: dict[str, Callable[[FoundFiles, str, Sequence[Path]], Settings | str | list[str]]] = {
    **dict.fromkeys(KINDS, _by_file),
    **dict.fromkeys(_BY_IMAGE, _by_image),
    "tfrecord": _records,
}


def _relative(path: Path, found: FoundFiles) -> str:
    return path.relative_to(found.folder).as_posix()
