"""Where the parts of a data set lie in a folder, and what their names tell, letter case aside."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from keras_retinanet.data.images.listing import IMAGE_SUFFIXES
from keras_retinanet.errors import ConfigError

Settings = dict[str, Any]

_MAX_NAMED = 5

EXAMPLE = (
    "write a data.yaml, for example: "
    "{format: coco, splits: {train: {images: train2017, annotations: train.json}}}"
)
# A word in the name of a file or folder tells its split.
_SPLIT_WORDS = {
    "train": re.compile(r"(?<![a-z])train"),
    "val": re.compile(r"(?<![a-z])val(id(ation)?)?(?![a-z])"),
    "test": re.compile(r"(?<![a-z])test"),
}


def as_yaml(settings: Settings) -> str:
    """Return settings as one line of YAML."""
    text = yaml.safe_dump(
        settings, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.strip()


def split_of(name: str) -> str:
    """Return the split that a name tells; "train" where it tells none."""
    return told_split(name) or "train"


def told_split(name: str) -> str | None:
    """Return the split that a name tells, if any: train2017, Validation, test_labels."""
    return next((s for s, word in _SPLIT_WORDS.items() if word.search(name.lower())), None)


def split_folders(folder: Path) -> dict[str, Path]:
    """Return the subfolders whose whole names are those of splits, by split: Train, valid, test.

    Raises:
        ConfigError: two folders are the same split.
    """
    found: dict[str, Path] = {}
    for sub in subfolders(folder):
        split = _FOLDER_SPLITS.get(sub.name.lower())
        if split is None:
            continue
        if split in found:
            raise ConfigError(
                f"{folder}: {split} may be {found[split].name} or {sub.name}: rename one, or name "
                "its files in a data YAML"
            )
        found[split] = sub
    return {split: found[split] for split in ("train", "val", "test") if split in found}


_FOLDER_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder in order, hidden ones left out."""
    return [p for p in _entries(folder) if p.is_dir()]


def files(folder: Path, *suffixes: str) -> list[Path]:
    """Return the files of a folder with one of the suffixes (".json"; any letter case), in order.

    Hidden files are left out; a folder that is not there has none.
    """
    return [p for p in _entries(folder) if p.name.lower().endswith(suffixes) and p.is_file()]


def subfolder(folder: Path, *names: str) -> Path | None:
    """Return the first subfolder that has one of the names, in the order of the names.

    Letter case does not matter, but an exact match comes first.
    """
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    by_name = {p.name.lower(): p for p in subfolders(folder)}
    return next((by_name[n.lower()] for n in names if n.lower() in by_name), None)


def _entries(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def one_each(folder: Path, kind: str, files: Mapping[str, Sequence[Any]]) -> Settings | None:
    """Return the settings, or stop where a split has more than one file."""
    for split, candidates in files.items():
        if len(candidates) > 1:
            names = [c["annotations"] if isinstance(c, dict) else str(c) for c in candidates]
            raise ConfigError(
                several_for_split(
                    folder, split, names, {"format": kind, "splits": {split: candidates[0]}}
                )
            )
    splits = {split: candidates[0] for split, candidates in files.items()}
    return {"format": kind, "splits": splits} if splits else None


def several_for_split(folder: Path, split: str, names: Sequence[str], one: Settings) -> str:
    """Return the message that a split may be any of several files; `one` are settings for one."""
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return (
        f"{folder}: {split} may be any of {', '.join(names[:_MAX_NAMED])}{more}: write a data.yaml "
        f"that names the one: {as_yaml(one)}"
    )


def first_folder(folder: Path, *names: str, with_images: bool = False) -> str | None:
    """Return the first of the names that is a folder, and holds images if that is asked for."""
    for name in names:
        if (folder / name).is_dir() and (not with_images or holds_images(folder / name)):
            return name
    return None


def holds_images(folder: Path) -> bool:
    """Return whether a folder itself holds images."""
    return any(p.suffix.lower() in IMAGE_SUFFIXES for p in _entries(folder))
