"""Writer of YOLO's format: images/SPLIT/, labels/SPLIT/, a data.yaml for us and for Ultralytics."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from keras_retinanet.data.convert.output import Output
from keras_retinanet.data.convert.split import Job, Plan, Split, exact
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.formats.yolo_files.yolo_yaml import SPLIT_KEYS
from keras_retinanet.errors import DataError

# What else stands in the data.yaml beside the splits.
_OTHER_KEYS = {"format", "root", "data_yaml", "splits", "path", "names", "nc"}


def plan_yolo(splits: Sequence[Split], output: Output) -> Plan:
    """Coordinates have all the digits that there are. There are no crowds: they are dropped."""
    findings = [
        Finding("a crowd or difficult object, which YOLO cannot hold", path, "box dropped")
        for split in splits
        for i, path in enumerate(split.dataset.image_paths)
        for _ in range(int(split.dataset.is_ignored[split.dataset.rows(i)].sum()))
    ]
    jobs = [
        Job(1, partial(_write, split, i, output))
        for split in splits
        for i in range(len(split.dataset))
    ]
    places = {split.name: f"images/{split.name}" for split in splits}
    data_yaml: dict[str, Any] = {"format": "yolo", **places}
    if set(places) & _OTHER_KEYS:
        raise DataError(f"a split of YOLO's cannot be called {sorted(set(places) & _OTHER_KEYS)}")
    if not set(places) <= set(SPLIT_KEYS):
        data_yaml["splits"] = {name: name for name in places}
    data_yaml["names"] = dict(enumerate(splits[0].dataset.class_names))
    return Plan(jobs, lambda: None, data_yaml, findings)


def _write(split: Split, i: int, output: Output) -> bool:
    name = split.image_names[i]
    was_there = output.put_image(f"images/{split.name}/{name}", split.dataset.image_paths[i])
    place = f"labels/{split.name}/{os.path.splitext(name)[0]}.txt"
    return output.write_text(place, _rows(split, i)) and was_there


def _rows(split: Split, i: int) -> str:
    dataset = split.dataset
    rows = dataset.rows(i)
    sides = [int(dataset.widths[i]), int(dataset.heights[i])]
    boxes = exact(dataset.boxes[rows])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / sides
    sizes = (boxes[:, 2:] - boxes[:, :2]) / sides
    lines = [
        " ".join(map(repr, [label, *centre, *size]))
        for label, centre, size, is_ignored in zip(
            dataset.labels[rows].tolist(),
            centres.tolist(),
            sizes.tolist(),
            dataset.is_ignored[rows],
            strict=True,
        )
        if not is_ignored
    ]
    return "".join(f"{line}\n" for line in lines)
