"""Folders of data sets in TFRecord files."""

import re
from pathlib import Path

from keras_retinanet.data.layouts.places import Settings, one_each, split_of


def tfrecord_layout(folder: Path) -> Settings | None:
    """Files train*.tfrecord*, val*.tfrecord*, test*.tfrecord*; a set of shards to a split."""
    sets: dict[str, dict[str, None]] = {}
    for path in sorted(folder.glob("*.tfrecord*")):
        # What the names of a set's shards have in common stands for all of it.
        prefix = re.sub(r"(\.tfrecord)?-\d+-of-\d+(\.tfrecord)?$", "", path.name)
        sets.setdefault(split_of(prefix), {})[prefix] = None
    settings = one_each(folder, "tfrecord", {split: list(names) for split, names in sets.items()})
    maps = sorted(folder.glob("*.pbtxt"))
    if settings and len(maps) == 1:
        settings["label_map"] = maps[0].name
    return settings
