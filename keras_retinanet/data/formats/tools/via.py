"""Reader of the VGG Image Annotator (VIA 1 to 3): its JSON, its project files and its CSV."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.text_lines import read_lines, split_cells
from keras_retinanet.data.formats.tools.labelled_images import (
    Box,
    LabelledImage,
    Labels,
    NotABox,
    around,
    number,
    parsed_json,
    read_json,
    read_objects,
    value_of,
)
from keras_retinanet.errors import DataError

CSV_TITLES = ("filename", "region_shape_attributes", "region_attributes")
# Of regions that have none, as where there is but one class to label.
ONLY_CLASS = "object"
# Attributes that name the class where a region has several.
_CLASS_KEYS = ("class", "label", "name", "type", "category", "object")


def read_via(path: Path) -> Labels:
    """Read a file of VIA.

    The class is the only attribute of the regions, or the one that is called class, label, name,
    type, category or object. Rectangles, polygons, circles and ellipses are read; points and lines
    are dropped and counted.

    Raises:
        DataError: the file cannot be read; a region is not as VIA writes it; or which attribute is
            the class cannot be told.
    """
    labels = Labels()
    is_csv = path.suffix.lower() == ".csv"
    images = _csv_images(path) if is_csv else _json_images(path, labels.findings)
    regions = [r for _, regions in images if isinstance(regions, list) for r in regions]
    key = _class_key(regions, path)
    if key is None:
        problem = f"regions have no attributes: all are of the class {ONLY_CLASS!r}"
        labels.findings.append(Finding(problem, f"{path}: {len(regions)} regions", "noted"))
    for name, image_regions in images:
        if key is not None and isinstance(image_regions, list):
            image_regions = _with_a_class(image_regions, key, f"{path}: {name}", labels.findings)
        labels.images.append(
            LabelledImage(
                name=name,
                objects=read_objects(
                    image_regions, lambda r: _region(r, key), f"{path}: {name}", labels.findings
                ),
            )
        )
    return labels


def is_via(content: Any) -> bool:
    """Return whether the content of a JSON file is VIA's."""
    if not isinstance(content, dict) or not content:
        return False
    if isinstance(content.get("_via_img_metadata"), dict):
        return True
    first = next(iter(content.values()))
    return isinstance(first, dict) and "filename" in first and "regions" in first


def _json_images(path: Path, findings: list[Finding]) -> list[tuple[str, list[Any]]]:
    content = read_json(path)
    if not is_via(content):
        raise DataError(f"{path} is no file of VIA: expected images with filename and regions")
    images = []
    for key, entry in content.get("_via_img_metadata", content).items():
        where = f"{path}: {key!r}"
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            stop("image without a name", where, f"{where}: filename names no image")
            continue
        regions = value_of(entry, ("regions",), where, findings)
        # VIA 1 numbers them.
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        images.append((name, regions))
    return images


def _csv_images(path: Path) -> list[tuple[str, list[Any]]]:
    lines = read_lines(path)
    titles = split_cells(lines[0].lstrip("#"), ",", f"{path}:1") if lines else []
    missing = [title for title in CSV_TITLES if title not in titles]
    if missing:
        raise DataError(f"{path}:1: VIA's CSV has a column {missing[0]!r}; found {titles}")
    columns = [titles.index(title) for title in CSV_TITLES]
    images: dict[str, list[Any]] = {}
    for line_number, line in enumerate(lines[1:], start=2):
        where = f"{path}:{line_number}"
        if not line.strip():
            continue
        cells = split_cells(line, ",", where)
        if len(cells) != len(titles):
            stop(
                "row of a wrong length",
                where,
                f"{where} has {len(cells)} cells instead of {len(titles)}",
            )
            continue
        name, shape, attributes = (cells[i] for i in columns)
        regions = images.setdefault(name, [])
        try:
            shape, attributes = parsed_json(shape or "{}"), parsed_json(attributes or "{}")
        except (ValueError, RecursionError) as error:
            stop("cell that is not JSON", where, f"{where}: a cell is not valid JSON: {error}")
            continue
        if shape:
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
    return list(images.items())


def _with_a_class(regions: list[Any], key: str, place: str, findings: list[Finding]) -> list[Any]:
    """Return the regions without those that have no class, where others of the file have one."""
    kept = []
    for number_, region in enumerate(regions, start=1):
        attributes = region.get("region_attributes") if isinstance(region, dict) else None
        if isinstance(attributes, dict) and key not in attributes:
            where = f"{place}, object {number_}"
            findings.append(Finding("region without a class", where, "box dropped"))
        else:
            kept.append(region)
    return kept


def _class_key(regions: list[Any], path: Path) -> str | None:
    """Return the attribute that is the class; None where no region has any attribute."""
    counts: Counter[str] = Counter()
    for region in regions:
        attributes = region.get("region_attributes") if isinstance(region, dict) else None
        if isinstance(attributes, dict):
            counts.update(list(attributes))
    if not counts:
        has_attributes = [r for r in regions if isinstance(r, dict) and "region_attributes" in r]
        return None if len(has_attributes) == len(regions) > 0 else _CLASS_KEYS[0]
    if len(counts) == 1:
        return next(iter(counts))
    named = [key for key in counts if key.lower() in _CLASS_KEYS]
    if len(named) == 1:
        return named[0]
    raise DataError(
        f"{path}: regions have the attributes {', '.join(map(repr, counts))}: which of them is the "
        f"class cannot be told; call it {_CLASS_KEYS[0]!r}, and no other {'/'.join(_CLASS_KEYS)}"
    )


def _region(region: Any, key: str | None) -> tuple[str, Box, bool]:
    shape = region["shape_attributes"]
    name = ONLY_CLASS if key is None else region["region_attributes"].get(key, "")
    if isinstance(name, Mapping):  # check boxes: {cat: true}
        chosen = [choice for choice, is_set in name.items() if is_set]
        if len(chosen) != 1:
            raise ValueError(f"it has {len(chosen)} classes: {chosen}")
        name = chosen[0]
    if not isinstance(name, str):
        raise ValueError(f"its class is {name!r}")
    kind = shape["name"]
    if kind == "rect":
        x, y, width, height = (number(shape[k]) for k in ("x", "y", "width", "height"))
        return name, (x, y, x + width, y + height), False
    if kind == "polygon":
        xs, ys = shape["all_points_x"], shape["all_points_y"]
        return name, around(list(zip(xs, ys, strict=True))), True
    if kind in ("circle", "ellipse"):
        x, y = number(shape["cx"]), number(shape["cy"])
        rx = number(shape["r"] if kind == "circle" else shape["rx"])
        ry = number(shape["r"] if kind == "circle" else shape["ry"])
        if shape.get("theta"):  # turned: no wider than its longer half axis on either side
            rx = ry = max(rx, ry)
        return name, (x - rx, y - ry, x + rx, y + ry), True
    raise NotABox(f"shape {kind}")
