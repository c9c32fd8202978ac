"""Reader of TFRecord files with the keys of the Object Detection API and of Model Garden.

Images are left where they are: their paths are addresses within the files (data/images/address.py).
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.records.record_table import (
    ClassPair,
    Record,
    RecordTable,
    record_place,
    tabulated,
)
from keras_retinanet.data.formats.records.shards import (
    Features,
    for_each_shard,
    iterate_records,
    parsed_or_not,
    without_faults,
)
from keras_retinanet.data.images.address import image_address
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

ENCODED, FORMAT, SHA256 = "image/encoded", "image/format", "image/key/sha256"
HEIGHT, WIDTH = "image/height", "image/width"
FILENAME, SOURCE_ID = "image/filename", "image/source_id"
# xyxy
BOX_KEYS = tuple(f"image/object/bbox/{key}" for key in ("xmin", "ymin", "xmax", "ymax"))
LABEL, TEXT = "image/object/class/label", "image/object/class/text"
AREA, IS_CROWD, DIFFICULT = (f"image/object/{key}" for key in ("area", "is_crowd", "difficult"))

# The names by id, in the order of the labels; and the ids by name, synonyms included.
LabelMap = tuple[dict[int, str], dict[str, int]]

_SUFFIXES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"\xff\x0a": ".jxl",
    b"\0\0\0\x0cJXL": ".jxl",
}


def read_tfrecord(
    shards: Sequence[Path],
    *,
    label_map: LabelMap | None = None,
    class_shards: Sequence[Path] = (),
    images: Path | None = None,
) -> RawAnnotations:
    """Read records; `shards` are those of one split.

    Objects marked `difficult` are regions to ignore, as crowds are.

    Args:
        label_map: as `read_label_map` returns it; without it, classes are those that occur in
            `shards` and `class_shards`, so that every split has the same.
        images: the folder of the images, where the records hold none.

    Raises:
        DataError: a record is damaged or lacks something (with file and record number), or a
            class is unknown.
    """
    files = list(shards)
    table = RecordTable(
        files, for_each_shard(files, lambda path: tabulated(_read_shard(path, images)))
    )
    without_faults(table.faults)
    if label_map is None:
        others = [path for path in class_shards if path not in shards]
        pairs = without_faults(p for found in for_each_shard(others, _class_pairs) for p in found)
        label_map = _occurring_classes([set(table.classes), *pairs], str(shards[0]))
    names, id_of = label_map
    findings: list[Finding] = []
    labels = _labels(table, names, id_of, findings)
    rows = None if (labels >= 0).all() else np.flatnonzero(labels >= 0)
    keep, places = slice(None) if rows is None else rows, table.places

    def describe_box(t: int) -> str:
        return places.of_object(t if rows is None else int(rows[t]))

    return RawAnnotations(
        source=_describe(shards),
        image_paths=table.paths,
        image_ids=_image_ids(table, findings),
        declared_sizes=table.sizes,
        box_images=table.box_images[keep],
        boxes=table.boxes[keep],
        labels=labels[keep],
        is_ignored=table.is_ignored[keep],
        areas=table.areas[keep],
        class_names=tuple(names.values()),
        category_ids=tuple(names),
        describe_box=describe_box,
        findings=findings,
        boxes_normalized=True,
    )


def image_suffix(image_bytes: bytes) -> str:
    """Return the usual suffix of an image file with these bytes; of unknown kinds, that of JPEG."""
    return next((s for magic, s in _SUFFIXES.items() if image_bytes.startswith(magic)), ".jpg")


def place_in_record(record: bytes, image_bytes: bytes, where: str) -> int:
    """Return where in a record its image begins."""
    place = record.find(image_bytes)
    if place < 0:
        raise DataError(f"{where}: the image is not stored in one piece")
    return place


def joined(arrays: Sequence[np.ndarray], empty_shape: int | tuple[int, ...]) -> np.ndarray:
    """Return the arrays one after the other; zeros of `empty_shape` without any."""
    return np.concatenate(arrays) if arrays else np.zeros(empty_shape)


def _read_shard(path: Path, images: Path | None) -> list[Record | DataError]:
    return [
        parsed_or_not(_parse, offset, data, number, path, images)
        for number, (offset, data) in enumerate(iterate_records(path))
    ]


def _parse(offset: int, data: bytes, number: int, path: Path, images: Path | None) -> Record:
    """Return the record whose data begins at `offset` in the file `path`."""
    where = record_place(path, number)
    features = Features(data, where)
    encoded = b"".join(features.bytes(ENCODED)[:1])
    source_id, filename = (_text(b"".join(features.bytes(k)[:1])) for k in (SOURCE_ID, FILENAME))
    if encoded:
        name = filename or f"{source_id or 'record_' + where.rpartition(' ')[2]}"
        name = name if re.search(r"\.\w{2,5}$", name) else name + image_suffix(encoded)
        start = offset + place_in_record(data, encoded, where)
        image = image_address(path, start, len(encoded), name)
    elif images is None:
        raise DataError(
            f"{where} holds no image ({ENCODED}): name the folder of the images with `images:`"
        )
    elif not filename:
        raise DataError(f"{where} has neither {ENCODED} nor {FILENAME}")
    else:
        image = str(images / filename)
    return _with_objects(
        features, number=number, path=image, source_id=source_id, filename=filename
    )


def _with_objects(
    features: Features, *, number: int, path: str, source_id: str, filename: str
) -> Record:
    """Return the record of an image, with the objects that its features hold."""
    where = features.where
    corners = [features.numbers(key) for key in BOX_KEYS]
    count = len(corners[0])
    labels = features.integers(LABEL)
    texts = [_text(v) for v in features.bytes(TEXT)]
    areas, crowd, difficult = (features.numbers(key) for key in (AREA, IS_CROWD, DIFFICULT))
    lengths = {len(c) for c in corners} | {len(v) for v in (labels, texts) if len(v)}
    optional = {len(v) for v in (areas, crowd, difficult) if len(v)}
    if lengths != {count} or not optional <= {count}:
        raise DataError(
            f"{where}: the lists of its objects have different lengths: "
            f"{[len(c) for c in corners]} corners, {len(labels)} labels, {len(texts)} texts, "
            f"{len(areas)} areas, {len(crowd)} is_crowd, {len(difficult)} difficult"
        )
    if count and not labels and not texts:
        raise DataError(f"{where}: its objects have neither {LABEL} nor {TEXT}")
    height, width = (next(iter(features.integers(key)), 0) for key in (HEIGHT, WIDTH))
    is_ignored = np.zeros(count, bool)
    for flags in (crowd, difficult):
        if len(flags):
            is_ignored |= flags != 0
    return Record(
        number=number,
        path=path,
        source_id=source_id,
        filename=filename,
        size=(height, width) if min(height, width) > 0 else None,
        boxes=np.stack(corners, axis=1),
        classes=_zipped(labels, texts),
        areas=areas if len(areas) else np.full(count, np.nan),
        is_ignored=is_ignored,
    )


def _class_pairs(path: Path) -> list[set[ClassPair] | DataError]:
    """Return the classes that occur in a file, and what is wrong with records of it."""

    def pairs(data: bytes, where: str) -> list[ClassPair]:
        features = Features(data, where)
        return _zipped(features.integers(LABEL), [_text(v) for v in features.bytes(TEXT)])

    found: set[ClassPair] = set()
    faults: list[set[ClassPair] | DataError] = []
    for number, (_, data) in enumerate(iterate_records(path)):
        one = parsed_or_not(pairs, data, record_place(path, number))
        if isinstance(one, DataError):
            faults.append(one)
        else:
            found.update(one)
    return [*faults, found]


def _zipped(labels: list[int], texts: list[str]) -> list[ClassPair]:
    """Return labels with their texts; one of the lists may be empty."""
    if not labels:
        return [(None, text) for text in texts]
    if not texts:
        return [(label, None) for label in labels]
    return list(zip(labels, texts, strict=False))


def _occurring_classes(found: Sequence[set[ClassPair]], source: str) -> LabelMap:
    """Return a label map of the classes in records: with their ids, where each has its own."""
    pairs = {pair for record_pairs in found for pair in record_pairs}
    nameless = sorted(label for label, text in pairs if text is None and label is not None)
    if nameless:
        raise DataError(
            f"{source}: the classes {nameless[:5]} have no name in the records: give the data YAML "
            "a label_map (.pbtxt or .yaml) or classes"
        )
    texts = sorted({text for _, text in pairs if text is not None})
    id_of = {text: label for label, text in pairs if text is not None and label is not None}
    if not len(pairs) == len(texts) == len(set(id_of.values())):  # some text or id is not unique
        id_of = {text: i for i, text in enumerate(texts, start=1)}
    return {i: text for text, i in sorted(id_of.items(), key=lambda item: item[1])}, id_of


def _labels(
    table: RecordTable, names: dict[int, str], id_of: dict[str, int], findings: list[Finding]
) -> np.ndarray:
    """Return the label of each object [T] int32, -1 for an unknown class, at which it stops."""
    label_of = {class_id: label for label, class_id in enumerate(names)}
    ids = [_class_id(pair, names, id_of) for pair in table.classes]
    labels = np.array([-1 if i is None else label_of[i] for i in ids] + [-1], np.int32)
    is_remarkable = np.array(
        [i is None or _differs(pair, i, names) for i, pair in zip(ids, table.classes)] + [False]
    )
    for row in np.flatnonzero(is_remarkable[table.codes]).tolist():
        code = int(table.codes[row])
        if ids[code] is None:
            _stop_at_unknown(table.classes[code], table.places.of_object(row), names)
        else:
            findings.append(
                Finding("class label and class text differ", table.places.of_object(row), "noted")
            )
    return labels[table.codes]


def _class_id(pair: ClassPair, names: dict[int, str], id_of: dict[str, int]) -> int | None:
    """Return the id of a class: its text's, or without a text its label; None if it is unknown."""
    label, text = pair
    if text:
        return id_of.get(text)
    return label if label in names else None


def _differs(pair: ClassPair, class_id: int, names: dict[int, str]) -> bool:
    label, text = pair
    return bool(text) and label in names and label != class_id


def _stop_at_unknown(pair: ClassPair, where: str, names: dict[int, str]) -> None:
    (label, text), problem = pair, "object of an unknown class"
    record, _, k = where.rpartition(", object ")
    if text:
        stop(
            problem,
            f"{where}: {text!r}",
            f"{record}: object {k} has the unknown class {text!r}; known: "
            f"{list(names.values())[:20]}",
        )
        return
    stop(
        problem,
        f"{where}: label {label}",
        f"{record}: object {k} has the unknown class label {label}; known: "
        f"{dict(list(names.items())[:20])}",
    )


def _image_ids(table: RecordTable, findings: list[Finding]) -> list[int | str]:
    """Return what tells the images apart: source_id, or else the file name, or else the place."""
    source_ids, filenames = table.source_ids, table.filenames
    if len(set(source_ids)) == len(source_ids) and all(source_ids):
        if all(re.fullmatch(r"0|[1-9]\d{0,17}", s, re.ASCII) for s in source_ids):
            return [int(s) for s in source_ids]
        return list(source_ids)
    if any(source_ids):
        problem = "image/source_id is missing or the same for several images; file names are used"
        findings.append(Finding(problem, _describe(table.paths), "noted"))
    if len(set(filenames)) == len(filenames) and all(filenames):
        return [re.sub(r"\.\w{2,5}$", "", name) for name in filenames]
    return [table.places.of_record(record) for record in range(len(filenames))]


def _describe(files: Sequence[str | Path]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0]}{more}"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
