"""A COCO file as it is: its JSON, and its lists of images and categories."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.coco_json.coco_values import as_id, as_side, as_whole_number
from keras_retinanet.data.formats.text_places import json_element_place
from keras_retinanet.errors import DataError

# Where tools other than COCO's own put the name of an image's file.
_NAME_KEYS = ("file_name", "filename", "path")
# Names of a class that stands for no object, as Roboflow and others number 0.
_NO_CLASS = ("none", "background", "__background__", "_background_", "n/a")


@dataclass(frozen=True)
class ImageEntry:
    """An image: its id, the name of its file, and (height, width) if they are given."""

    id: int | str
    name: str
    size: tuple[int, int] | None


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a COCO file, in UTF-8, UTF-16 or UTF-32.

    Raises:
        DataError: it cannot be read, is not JSON (with the line), or is no object.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{path}{line}: not valid JSON: {error}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not COCO annotations: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{path}: not COCO annotations: {error}") from error
    if isinstance(content, list) and content and isinstance(content[0], dict):
        raise DataError(
            f"{path}: a list of {len(content)} entries with {', '.join(map(repr, content[0]))[:99]}"
            " and not a JSON object with images, annotations and categories: a file of results, or "
            "the list of annotations alone? Name the file that holds the images and categories, too"
        )
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object with images, annotations and categories")
    return content


def list_of(content: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    """Return one of the three lists.

    Raises:
        DataError: it is missing; the message says how to add it.
    """
    value = content.get(key)
    if isinstance(value, list):
        return value
    mend = {
        "images": "add one of {id, file_name, width, height}",
        "annotations": "this may be a file of images alone, as for a test set without labels",
        "categories": "add one of {id, name}, with the ids that the annotations hold",
    }[key]
    held = ", ".join(repr(name) for name in list(content)[:8]) or "nothing"
    raise DataError(f"{path}: COCO annotations need a list {key!r}; found {held[:200]}: {mend}")


def read_images(
    records: Sequence[Any], path: Path, findings: list[Finding]
) -> tuple[list[ImageEntry], set[Any]]:
    """Return the images, each once, and the ids of the entries that cannot be used.

    An entry that is there twice is one image; one id for two files stops.
    """
    by_id: dict[int | str, ImageEntry] = {}
    faulty: set[Any] = set()
    for place, record in enumerate(records):
        entry = _read(record, _image, path, "images", place, "id and file_name")
        if entry is None:
            image_id = record.get("id") if isinstance(record, dict) else None
            if isinstance(image_id, int | str):
                faulty.add(image_id)
        elif entry.id not in by_id:
            by_id[entry.id] = entry
        elif by_id[entry.id].name == entry.name:
            where = json_element_place(path, "images", place)
            findings.append(Finding("image listed twice", where, "noted"))
        else:
            _used_twice("image id", entry.id, json_element_place(path, "images", place))
    return list(by_id.values()), faulty


def read_categories(
    records: Sequence[Any], used: Callable[[], set[str]], path: Path, findings: list[Finding]
) -> list[tuple[int, str]]:
    """Return (id, name) of the categories in the order of the ids, without a placeholder.

    Args:
        used: the category ids of the annotations, as texts; called if there may be a placeholder.
    """
    names: dict[int, str] = {}
    groups: dict[int, Any] = {}
    for place, record in enumerate(records):
        category = _read(record, _category, path, "categories", place, "id and name")
        if category is None:
            continue
        if category[0] in names and names[category[0]] != category[1]:
            _used_twice("category id", category[0], json_element_place(path, "categories", place))
            continue
        names[category[0]] = category[1]
        groups[category[0]] = record.get("supercategory")
    if _is_placeholder(names, groups) and "0" not in used():
        findings.append(
            Finding(
                "category 0 is a placeholder, as Roboflow writes: no object has it, and its name "
                "is the group of the others",
                f"{path}: category {names.pop(0)!r}",
                "left out",
            )
        )
    seen: dict[str, int] = {}
    for category_id, name in names.items():
        if name in seen:
            where = f"{path}: categories {seen[name]} and {category_id}"
            _used_twice("category name", name, where)
        seen.setdefault(name, category_id)
    return sorted((category_id, name) for name, category_id in seen.items())


def _is_placeholder(names: Mapping[int, str], groups: Mapping[int, Any]) -> bool:
    """Return whether category 0 names the group of the others, or says that it is none."""
    if 0 not in names or len(names) < 2:
        return False
    others = [group for category_id, group in groups.items() if category_id != 0]
    is_group = all(group == names[0] for group in others)
    return is_group or names[0].strip().lower() in _NO_CLASS


def _read(record: Any, read: Callable[[Any], Any], path: Path, key: str, i: int, need: str) -> Any:
    """Return what `read` makes of a record of the list `key`; None, while faults are collected, if
    it cannot be used."""
    try:
        return read(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        where = f"{path}: {key}[{i}]"
        stop(
            f"entry of {key} without {need}",
            f"{json_element_place(path, key, i)}: {_explain(error)}",
            f"{where} needs {need}: {_explain(error)}",
        )
        return None


def _explain(error: Exception) -> str:
    text = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return f"{type(error).__name__}: {text}"[:300]


def _image(record: Any) -> ImageEntry:
    key = next((key for key in _NAME_KEYS if record.get(key)), "file_name")
    name = record[key]
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{name!r} is no file name")
    image_id = as_id(record["id"])
    f"{image_id}{name}".encode()  # halves of characters, as "\\ud800", are no text
    height, width = as_side(record.get("height")), as_side(record.get("width"))
    return ImageEntry(image_id, name, (height, width) if height and width else None)


def _category(record: Any) -> tuple[int, str]:
    category, name = as_whole_number(record["id"]), record["name"]
    if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
        raise ValueError(f"{name!r} is no name")
    str(name).encode()
    return category, str(name)


def _used_twice(what: str, value: Any, where: str) -> None:
    stop(
        f"{what} used more than once",
        f"{where}: {value!r}",
        f"{where}: the {what} {value!r} is used more than once: change or remove one",
    )
