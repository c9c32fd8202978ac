"""Reader of Label Studio's own JSON: tasks with results in per cent of the image."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.tools.labelled_images import (
    Box,
    LabelledImage,
    Labels,
    NotABox,
    around,
    number,
    read_json,
    read_objects,
    rotated,
    size_of,
    text,
    value_of,
)
from keras_retinanet.errors import DataError

# Results of these types have no place in the image.
_WITHOUT_PLACE = ("choices", "textarea", "rating", "number", "taxonomy", "relation", "pairwise")


def read_label_studio(path: Path) -> Labels:
    """Read an export of tasks; predictions and cancelled annotations are not labels.

    Rectangles, rotated ones too, polygons and ellipses are read; brushes and key points are dropped
    and counted. A task without an annotation is no labelled image, and is left out and counted.

    Raises:
        DataError: it cannot be read, or is not as Label Studio writes it.
    """
    content = read_json(path)
    if not is_label_studio(content):
        raise DataError(f"{path} is no export of Label Studio: expected a list of tasks with data")
    labels = Labels()
    for place, task in enumerate(content):
        where = f"{path}: task {task.get('id', place + 1) if isinstance(task, dict) else place + 1}"
        name = _image_name(task)
        if name is None:
            stop("task that names no image", where, f"{where}: its data name no image")
            continue
        annotations = _annotations(task)
        if not annotations:
            labels.findings.append(Finding("task without an annotation", where, "image skipped"))
            continue
        # Several people may have annotated it; the last is what was decided on.
        results = value_of(annotations[-1], ("result",), where, labels.findings)
        if len(annotations) > 1:
            problem = "task with several annotations: the last one is taken"
            labels.findings.append(Finding(problem, where, "noted"))
        placed = (
            [r for r in results if not _is_without_place(r)]
            if isinstance(results, list)
            else results
        )
        labels.images.append(
            LabelledImage(
                name=name,
                objects=read_objects(placed, _result, where, labels.findings),
                size=_size(results),
            )
        )
    return labels


def is_label_studio(content: Any) -> bool:
    """Return whether the content of a JSON file is Label Studio's."""
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    return isinstance(content[0].get("data"), dict) and (
        "annotations" in content[0] or "completions" in content[0]
    )


def _image_name(task: Any) -> str | None:
    """Return the file's name: from an address, from /data/upload/, or from ?d= of local files."""
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        return None
    texts = [value for value in data.values() if isinstance(value, str) and value.strip()]
    address = data.get("image") if isinstance(data.get("image"), str) else next(iter(texts), None)
    if not address:
        return None
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    return unquote(local[0] if local else parts.path or address) or None


def _annotations(task: dict[str, Any]) -> list[dict[str, Any]]:
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list):
        return []
    return [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]


def _is_without_place(result: Any) -> bool:
    return isinstance(result, dict) and result.get("type") in _WITHOUT_PLACE


def _size(results: Any) -> tuple[int, int] | None:
    first = results[0] if isinstance(results, list) and results else None
    if not isinstance(first, dict):
        return None
    return size_of(first.get("original_height"), first.get("original_width"))


def _result(result: Any) -> tuple[str, Box, bool]:
    kind, value = result["type"], result["value"]
    if kind in ("brushlabels", "keypointlabels", "brush", "keypoint", "vectorlabels"):
        raise NotABox(f"result {kind}")
    names = value.get(kind) or value.get("labels") or []
    if kind in ("rectangle", "polygon", "ellipse"):
        raise NotABox(f"result {kind} without a label")
    if len(names) != 1:
        raise ValueError(f"it has {len(names)} labels: {names}")
    # Per cent of each side, and degrees that are meant in pixels.
    width, height = number(result["original_width"]), number(result["original_height"])
    scale_x, scale_y = width / 100, height / 100
    if kind == "polygonlabels":
        points = [(number(x) * scale_x, number(y) * scale_y) for x, y in value["points"]]
        return text(names[0]), around(points), True
    x, y = number(value["x"]) * scale_x, number(value["y"]) * scale_y
    if kind == "ellipselabels":
        rx, ry = number(value["radiusX"]) * scale_x, number(value["radiusY"]) * scale_y
        return text(names[0]), (x - rx, y - ry, x + rx, y + ry), True
    if kind != "rectanglelabels":
        raise ValueError(f"its type {kind!r} is not known")
    w, h = number(value["width"]) * scale_x, number(value["height"]) * scale_y
    degrees = number(value.get("rotation") or 0)
    if degrees:
        return text(names[0]), rotated(x, y, w, h, degrees), True
    return text(names[0]), (x, y, x + w, y + h), False
