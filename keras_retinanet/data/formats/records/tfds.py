"""Reader of data sets that TensorFlow Datasets has prepared on this machine.

Its files are TFRecords: images stay in them, as those of any TFRecord (tfrecord.py) do.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.data.formats.records.shards import (
    Features,
    for_each_shard,
    iterate_records,
    parsed_or_not,
    without_faults,
)
from keras_retinanet.data.formats.records.tfrecord import image_suffix, joined, place_in_record
from keras_retinanet.data.images.address import image_address
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError
from keras_retinanet.system.distribution import DISTRIBUTION

PREFIX = "tfds:"  # of names on the command line: tfds:coco/2017

# Names of the same thing in different data sets.
_OBJECTS = ("objects", "bobjects")
_LABEL = ("label", "type")
_IGNORED = ("is_crowd", "is_difficult", "is_group_of")
_SPLITS = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class _Record:
    """An image, and its n objects."""

    where: str
    path: str
    image_id: int | None
    filename: str
    boxes: np.ndarray  # [n, 4] xyxy, shares of the image
    labels: np.ndarray  # [n]
    areas: np.ndarray  # [n]
    is_ignored: np.ndarray  # [n]


def read_tfds(name: str, split: str, data_dir: Path | None = None) -> RawAnnotations:
    """Read a split of a data set; `split` may be a part of one, as in "train[:10%]".

    Crowds, difficult objects and groups are regions to ignore.

    Raises:
        DataError: the package is missing, the data set is unknown or not prepared, holds no boxes,
            or a file is damaged.
    """
    builder = _builder(name, data_dir)
    objects, label, class_names = _keys(builder.info.features, name)
    try:
        parts = builder.info.splits[split].file_instructions
    except (ValueError, KeyError) as error:
        raise DataError(f"{PREFIX}{name} {split}: {_first_line(error)}") from error

    def read(part: Any) -> list[_Record | DataError]:
        return _read_part(part, objects, label)

    records = without_faults(one for part in for_each_shard(list(parts), read) for one in part)
    counts = [len(record.labels) for record in records]
    box_images = np.repeat(np.arange(len(records)), counts)
    places = np.concatenate([np.arange(c) for c in counts]) if records else box_images
    labels = joined([record.labels for record in records], 0)
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise DataError(
            f"{PREFIX}{name}: the labels go from {labels.min():.0f} to {labels.max():.0f}, and "
            f"there are {len(class_names)} classes"
        )

    return RawAnnotations(
        source=f"{PREFIX}{name} {split}",
        image_paths=[record.path for record in records],
        image_ids=_image_ids(records),
        declared_sizes=[None] * len(records),
        box_images=box_images,
        boxes=joined([record.boxes for record in records], (0, 4)),
        labels=labels.astype(np.int32),
        is_ignored=joined([record.is_ignored for record in records], 0).astype(bool),
        areas=joined([record.areas for record in records], 0),
        class_names=tuple(class_names),
        category_ids=tuple(range(len(class_names))),
        describe_box=lambda t: f"{records[box_images[t]].where}, object {places[t]}",
        boxes_normalized=True,
    )


def tfds_splits(name: str, data_dir: Path | None = None) -> dict[str, str]:
    """Return the data set's own name of each split; "validation" is called "val" here."""
    splits = _builder(name, data_dir).info.splits
    return {_SPLITS.get(split, split): split for split in splits}


def _read_part(part: Any, objects: str, label: str) -> list[_Record | DataError]:
    """Return the records of a file that belong to a split.

    Args:
        part: a FileInstruction of TensorFlow Datasets: filename, skip, and take (-1: all).
        objects, label: the keys of the objects and of their label.
    """
    records: list[_Record | DataError] = []
    for number, (offset, data) in enumerate(iterate_records(Path(part.filename))):
        if part.take >= 0 and number >= part.skip + part.take:
            break
        if number >= part.skip:
            where = f"{part.filename}: record {number}"
            file = str(part.filename)
            records.append(parsed_or_not(_parse, data, offset, where, file, objects, label))
    if len(records) < part.take:
        raise DataError(
            f"{part.filename}: record {part.skip + len(records)} is missing: get the file anew"
        )
    return records


def _builder(name: str, data_dir: Path | None) -> Any:
    """Return TensorFlow Datasets' builder of a data set that is prepared as TFRecords."""
    try:
        tfds = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise DataError(
            f"{PREFIX}{name} needs TensorFlow Datasets ({error}): "
            f'pip install "{DISTRIBUTION}[tfds]"'
        ) from error
    try:
        builder = tfds.builder(name, data_dir=None if data_dir is None else str(data_dir))
    except Exception as error:  # what it raises is not documented
        raise DataError(f"{PREFIX}{name}: {_first_line(error)}") from error
    if not builder.info.splits:
        raise DataError(
            f"{PREFIX}{name} is not prepared in {builder.data_dir}: run `tfds build {name}`, or "
            "name another data_dir"
        )
    kind = builder.info.file_format.value  # an enum, which is set where there are splits
    if kind != "tfrecord":
        raise DataError(
            f"{PREFIX}{name} is stored as {kind}; prepare it with `tfds build {name} "
            "--file_format=tfrecord`"
        )
    return builder


def _keys(features: Any, name: str) -> tuple[str, str, list[str]]:
    """Return the keys of the objects and of their label, and the class names."""
    for objects in _OBJECTS:
        if objects in features and "image" in features:
            for label in _LABEL:
                try:
                    return objects, label, list(features[objects][label].names)
                except (KeyError, AttributeError, TypeError):
                    continue
    raise DataError(
        f"{PREFIX}{name} has no images with objects of named classes; its features are "
        f"{sorted(features)}"
    )


def _parse(data: bytes, offset: int, where: str, file: str, objects: str, label: str) -> _Record:
    """Return the record whose data begins at `offset` in a file."""
    features = Features(data, where)
    encoded = b"".join(features.bytes("image")[:1])
    if not encoded:
        raise DataError(f"{where} has no image")
    filename = b"".join(features.bytes("image/filename")[:1]).decode("utf-8", "replace")
    image_id = next(iter(features.integers("image/id")), None)
    name = filename or f"{where.rpartition(' ')[2] if image_id is None else image_id}"
    start = offset + place_in_record(data, encoded, where)
    if "." not in name:
        name += image_suffix(encoded)

    corners = features.numbers(f"{objects}/bbox")
    labels = features.numbers(f"{objects}/{label}")
    areas = features.numbers(f"{objects}/area")
    is_ignored = np.zeros(len(labels), bool)
    for flags in (features.numbers(f"{objects}/{key}") for key in _IGNORED):
        if len(flags) not in (0, len(labels)):
            raise DataError(f"{where}: the lists of its objects have different lengths")
        is_ignored |= flags != 0 if len(flags) else False
    if len(corners) != 4 * len(labels) or len(areas) not in (0, len(labels)):
        raise DataError(f"{where}: the lists of its objects have different lengths")
    return _Record(
        where=where,
        path=image_address(file, start, len(encoded), name),
        image_id=image_id,
        filename=filename,
        boxes=corners.reshape(-1, 4)[:, [1, 0, 3, 2]],  # ymin, xmin, ymax, xmax there
        labels=labels,
        areas=areas if len(areas) else np.full(len(labels), np.nan),
        is_ignored=is_ignored,
    )


def _image_ids(records: Sequence[_Record]) -> Sequence[int | str]:
    """Return what tells the images apart: their ids, or else the file names, or else the places."""
    ids = [record.image_id for record in records if record.image_id is not None]
    if len(set(ids)) == len(records):
        return ids
    filenames = [record.filename for record in records if record.filename]
    if len(set(filenames)) == len(records):
        return filenames
    return [record.where for record in records]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
