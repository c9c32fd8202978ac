"""Reader of COCO detection annotations (instances_*.json)."""

import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.text_places import json_element_place
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

Record = TypeVar("Record")


def read_coco(images: Path, annotations: Path) -> RawAnnotations:
    """Read a COCO JSON file; `images` is the folder that its file names are relative to.

    Category ids may have gaps; labels follow the order of the ids. Objects with iscrowd = 1 are
    regions to ignore.

    Raises:
        DataError: the file cannot be read, is not JSON (with line and column), lacks something, or
            an annotation has an unknown category.
    """
    content = _read_json(annotations)
    image_records, category_records, box_records = (
        _list_of(content, key, annotations) for key in ("images", "categories", "annotations")
    )
    categories = sorted(_read_all(category_records, "categories", _category, annotations))
    entries = _read_all(image_records, "images", _image, annotations)
    image_ids = [image_id for image_id, _, _ in entries]
    findings = _dummy_category(category_records, box_records, annotations)
    _refuse_duplicates(image_ids, "image id", annotations)
    _refuse_duplicates([c for c, _ in categories], "category id", annotations)
    _refuse_duplicates([name for _, name in categories], "category name", annotations)
    table, places = _read_boxes(
        box_records,
        annotations,
        label_of={category: label for label, (category, _) in enumerate(categories)},
        index_of={image_id: i for i, image_id in enumerate(image_ids)},
        findings=findings,
    )
    return RawAnnotations(
        source=str(annotations),
        image_paths=[str(images / name) for _, name, _ in entries],
        image_ids=image_ids,
        declared_sizes=[size for _, _, size in entries],
        box_images=table[:, 0].astype(np.int64),
        boxes=table[:, 1:5],
        labels=table[:, 5].astype(np.int32),
        is_ignored=table[:, 6].astype(bool),
        areas=table[:, 7],
        class_names=tuple(name for _, name in categories),
        category_ids=tuple(category for category, _ in categories),
        describe_box=lambda t: json_element_place(annotations, "annotations", places[t]),
        findings=findings,
    )


def _read_boxes(
    records: Sequence[Any],
    path: Path,
    *,
    label_of: Mapping[int, int],
    index_of: Mapping[int | str, int],
    findings: list[Finding],
) -> tuple[np.ndarray, list[int]]:
    """Return a row [T, 8] for each annotation that can be used, and its place in the list.

    A row is the image's index, x1, y1, x2, y2, the label, iscrowd and the area (NaN without one).
    """
    times_seen: Counter[int | str] = Counter()
    rows: list[tuple[float, ...]] = []
    places: list[int] = []
    for place, record in enumerate(records):
        where = functools.partial(json_element_place, path, "annotations", place)
        annotation = _read_annotation(record, where)
        if annotation is None:
            continue
        image_id, category, corners, is_crowd, area = annotation
        if category not in label_of:
            stop(
                "object of an unknown class",
                f"{where()}: category_id {category!r}",
                f"{where()} has the unknown category_id {category!r}; known: {list(label_of)}",
            )
            continue
        if "id" in record:
            times_seen[record["id"]] += 1
            if times_seen[record["id"]] == 2:
                findings.append(Finding("annotation id used twice", where(), "noted"))
        if image_id not in index_of:
            findings.append(Finding("annotation of an unknown image", where(), "box dropped"))
            continue
        places.append(place)
        rows.append((index_of[image_id], *corners, label_of[category], is_crowd, area))
    return np.array(rows, np.float64).reshape(-1, 8), places


def _read_annotation(
    record: Any, where: Callable[[], str]
) -> tuple[Any, Any, tuple[float, float, float, float], bool, float] | None:
    """Return the image id, category id, corners, iscrowd and area of an annotation.

    None, while faults are collected, if it lacks something.
    """
    try:
        x, y, width, height = (float(v) for v in record["bbox"])
        image_id, category = record["image_id"], record["category_id"]
        is_crowd, area = bool(record.get("iscrowd", 0)), float(record.get("area", np.nan))
        hash((category, image_id, record.get("id")))  # lists and objects cannot be ids
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        stop(
            "annotation without image_id, category_id or a bbox of four numbers",
            f"{where()}: {error!r}",
            f"{where()} needs image_id, category_id and bbox of four numbers: {error!r}",
        )
        return None
    return image_id, category, (x, y, x + width, y + height), is_crowd, area


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{path}{line}: not valid JSON: {error}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not COCO annotations: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{path}: not COCO annotations: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object with images, annotations and categories")
    return content


def _read_all(
    records: Sequence[Any], key: str, read: Callable[[Any], Record], path: Path
) -> list[Record]:
    """Return what `read` makes of each record of the list `key`."""
    results = []
    for place, record in enumerate(records):
        try:
            results.append(read(record))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            needed = "id and name" if key == "categories" else "id and file_name"
            raise DataError(f"{path}: {key}[{place}] needs {needed}: {error!r}") from error
    return results


def _image(record: Any) -> tuple[int | str, str, tuple[int, int] | None]:
    """Return the id, the file name, and (height, width) if they are given."""
    name = record["file_name"]
    if not isinstance(name, str) or not name:
        raise ValueError(f"{name!r} is no file name")
    f"{record['id']}{name}".encode()  # halves of characters, as "\\ud800", are no text
    return record["id"], name, (record["height"], record["width"]) if record.get("height") else None


def _category(record: Any) -> tuple[int, str]:
    """Return the id and the name."""
    category, name = record["id"], record["name"]
    if type(category) is not int:
        raise ValueError(f"the category id {category!r} is no whole number")
    if not isinstance(name, str | int) or not str(name).strip():
        raise ValueError(f"{name!r} is no name")
    str(name).encode()
    return category, str(name)


def _dummy_category(categories: Sequence[Any], boxes: Sequence[Any], path: Path) -> list[Finding]:
    """Report the category 0 of Roboflow's exports, which is the group that the others belong to."""
    groups = [category.get("supercategory") for category in categories if category["id"] != 0]
    return [
        Finding(
            "category 0 has no objects and names the group of others, as Roboflow's dummy: it is "
            "trained as a class; remove it from the file",
            f"{path}: category {category['name']!r}",
            "noted",
        )
        for category in categories
        if category["id"] == 0
        and category["name"] in groups
        and not any(isinstance(b, dict) and b.get("category_id") == 0 for b in boxes)
    ]


def _list_of(content: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    value = content.get(key)
    if not isinstance(value, list):
        raise DataError(f"{path}: COCO annotations need a list {key!r}")
    return value


def _refuse_duplicates(values: Sequence[Any], what: str, path: Path) -> None:
    unusable = [value for value in values if not isinstance(value, int | str)]
    if unusable:
        raise DataError(f"{path}: the {what} {unusable[0]!r} is neither a number nor a text")
    duplicates = [value for value, count in Counter(values).items() if count > 1]
    if duplicates:
        raise DataError(f"{path}: the {what} {duplicates[0]!r} is used more than once")
