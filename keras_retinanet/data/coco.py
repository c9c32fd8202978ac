"""Reader of COCO detection annotations (instances_*.json)."""

import functools
import json
from collections import Counter
from pathlib import Path

import numpy as np

from keras_retinanet.data.cleaning import RawAnnotations
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.text_places import json_element_place
from keras_retinanet.errors import DataError


def read_coco(images: Path, annotations: Path) -> RawAnnotations:
    """Read a COCO JSON file; `images` is the folder that its file names are relative to.

    Category ids may have gaps; labels follow the order of the ids. Objects with iscrowd = 1 are
    regions to ignore.

    Raises:
        DataError: the file cannot be read, is not JSON (with line and column), lacks something, or
            an annotation has an unknown category.
    """
    content = _read_json(annotations)
    records = {key: _list_of(content, key, annotations) for key in ("images", "categories")}
    boxes_json = _list_of(content, "annotations", annotations)
    try:
        categories = sorted((int(c["id"]), str(c["name"])) for c in records["categories"])
        image_ids = [image["id"] for image in records["images"]]
        paths = [str(images / image["file_name"]) for image in records["images"]]
        declared = [
            (image["height"], image["width"]) if image.get("height") else None
            for image in records["images"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{annotations}: an image needs id and file_name, a category id and name: {error!r}"
        ) from error
    _refuse_duplicates(image_ids, "image id", annotations)
    _refuse_duplicates([c for c, _ in categories], "category id", annotations)
    _refuse_duplicates([name for _, name in categories], "category name", annotations)

    label_of = {category: label for label, (category, _) in enumerate(categories)}
    index_of = {image_id: i for i, image_id in enumerate(image_ids)}
    findings: list[Finding] = []
    seen: Counter = Counter()
    rows, places = [], []
    for place, entry in enumerate(boxes_json):
        where = functools.partial(json_element_place, annotations, "annotations", place)
        try:
            x, y, width, height = (float(v) for v in entry["bbox"])
            category, image_id = entry["category_id"], entry["image_id"]
            crowd, area = bool(entry.get("iscrowd", 0)), float(entry.get("area", np.nan))
            hash((category, image_id, entry.get("id")))  # lists and objects cannot be ids
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            stop(
                "annotation without image_id, category_id or a bbox of four numbers",
                f"{where()}: {error!r}",
                f"{where()} needs image_id, category_id and bbox of four numbers: {error!r}",
            )
            continue
        if category not in label_of:
            stop(
                "object of an unknown class",
                f"{where()}: category_id {category!r}",
                f"{where()} has the unknown category_id {category!r}; known: {list(label_of)}",
            )
            continue
        if "id" in entry:
            seen[entry["id"]] += 1
            if seen[entry["id"]] == 2:
                findings.append(Finding("annotation id used twice", where(), "noted"))
        if image_id not in index_of:
            findings.append(Finding("annotation of an unknown image", where(), "box dropped"))
            continue
        places.append(place)
        rows.append(
            (index_of[image_id], x, y, x + width, y + height, label_of[category], crowd, area)
        )

    table = np.array(rows, np.float64).reshape(-1, 8)
    return RawAnnotations(
        source=str(annotations),
        image_paths=paths,
        image_ids=image_ids,
        declared_sizes=declared,
        box_images=table[:, 0].astype(np.int64),
        boxes=table[:, 1:5],
        labels=table[:, 5].astype(np.int32),
        is_crowd=table[:, 6].astype(bool),
        areas=table[:, 7],
        class_names=tuple(name for _, name in categories),
        category_ids=tuple(category for category, _ in categories),
        describe_box=lambda t: json_element_place(annotations, "annotations", places[t]),
        findings=findings,
    )


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{path}{line}: not valid JSON: {error}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not COCO annotations: nested too deeply") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object with images, annotations and categories")
    return content


def _list_of(content: dict, key: str, path: Path) -> list:
    value = content.get(key)
    if not isinstance(value, list):
        raise DataError(f"{path}: COCO annotations need a list {key!r}")
    return value


def _refuse_duplicates(values: list, what: str, path: Path) -> None:
    unusable = [value for value in values if not isinstance(value, int | str)]
    if unusable:
        raise DataError(f"{path}: the {what} {unusable[0]!r} is neither a number nor a text")
    duplicates = [value for value, count in Counter(values).items() if count > 1]
    if duplicates:
        raise DataError(f"{path}: the {what} {duplicates[0]!r} is used more than once")
