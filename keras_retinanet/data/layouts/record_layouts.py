"""Folders of data sets in TFRecord files."""

import re
from pathlib import Path

from keras_retinanet.data.formats.records.label_map import read_label_map
from keras_retinanet.data.layouts.places import (
    EXAMPLE,
    Settings,
    files,
    one_each,
    split_folders,
    split_of,
    subfolder,
    told_split,
)
from keras_retinanet.errors import ConfigError

_RECORDS = re.compile(r"\.(tfrecords?|record)(?=$|-\d+-of-\d+$)", re.IGNORECASE)
# What follows the prefix that the names of a set's shards have in common.
_SHARD = re.compile(r"(\.(tfrecords?|record))?-\d+-of-\d+(\.(tfrecords?|record))?$", re.IGNORECASE)


def tfrecord_layout(folder: Path) -> Settings | None:
    """Records here or in data/, annotations/, tfrecords/; or in folders of splits, as Roboflow's.

    Files train*.tfrecord*, val*.record*, ...: a file, or a set of shards, to a split; a label map
    (.pbtxt) beside them, or in the folder.
    """
    below = subfolder(folder, "data", "tfrecords", "tfrecord", "records", "annotations")
    for place in (folder, *([below] if below is not None else [])):
        sets = _sets(place, folder)
        if sets:
            return _settings(folder, sets, [place, folder])
    inside = split_folders(folder)
    sets = {s: list(found) for s, sub in inside.items() if (found := _all_sets(sub, folder))}
    return _settings(folder, sets, [*inside.values(), folder]) if sets else None


def _settings(folder: Path, sets: dict[str, list[str]], places: list[Path]) -> Settings | None:
    settings = one_each(folder, "tfrecord", sets)
    maps = [path for place in dict.fromkeys(places) for path in files(place, ".pbtxt")]
    maps = maps or files(folder / "annotations", ".pbtxt")
    if not settings or not maps:
        return settings
    first = maps[0]
    for other in maps[1:]:
        if read_label_map(other) != read_label_map(first):
            raise ConfigError(f"{folder}: {first} and {other} differ: which is meant? {EXAMPLE}")
    return {**settings, "label_map": first.relative_to(folder).as_posix()}


def _sets(place: Path, folder: Path) -> dict[str, list[str]]:
    """Return the sets of records in a folder by the splits that their names tell.

    One that tells none, beside train's, is the whole that they are parts of.
    """
    names = _all_sets(place, folder)
    if any(told_split(Path(name).name) == "train" for name in names):
        names = [name for name in names if told_split(Path(name).name)]
    sets: dict[str, list[str]] = {}
    for name in names:
        sets.setdefault(split_of(Path(name).name), []).append(name)
    return sets


def _all_sets(place: Path, folder: Path) -> list[str]:
    """Return what the names of the sets of records in a folder begin with, relative to `folder`."""
    found = [p for p in files(place, "") if _RECORDS.search(p.name)]
    return list(dict.fromkeys(_SHARD.sub("", p.relative_to(folder).as_posix()) for p in found))
