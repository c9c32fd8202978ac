"""Reader of COCO detection annotations (instances_*.json), as many tools write them."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.box_orders import MAX_IMAGES, look_up_sizes, other_orders
from keras_retinanet.data.formats.coco_json.coco_file import (
    list_of,
    read_categories,
    read_images,
    read_json,
)
from keras_retinanet.data.formats.coco_json.coco_values import (
    PLAIN_NUMBERS,
    Corners,
    IdLookup,
    as_area,
    as_corners,
    as_flag,
    as_id,
    is_plain_box,
    polygon_corners,
)
from keras_retinanet.data.formats.image_finder import ImageFinder
from keras_retinanet.data.formats.text_places import json_element_place
from keras_retinanet.data.raw_annotations import RawAnnotations

# Areas that are no larger than this, all of them, are what a tool writes that knows none.
_NO_AREA = 1.0
# How far an area may be from that of the box that it was computed of.
_AREA_TOLERANCE = 0.02


def read_coco(images: Path, annotations: Path, *, boxes: str = "xywh") -> RawAnnotations:
    """Read a COCO JSON file; `images` is the folder that its file names are relative to.

    Category ids may have gaps; labels follow the order of the ids. Objects with iscrowd = 1 are
    regions to ignore. Values are read by what they mean: ids, flags and numbers may be texts.

    Args:
        boxes: what a bbox holds: "xywh", as COCO has it, or "xyxy".

    Raises:
        DataError: the file cannot be read, is not JSON (with line and column), lacks something, an
            annotation has an unknown category, or its boxes seem to be xyxy.
    """
    content = read_json(annotations)
    image_records, category_records, records = (
        list_of(content, key, annotations) for key in ("images", "categories", "annotations")
    )
    findings: list[Finding] = []
    entries, faulty = read_images(image_records, annotations, findings)
    used = functools.partial(_used_categories, records)
    categories = read_categories(category_records, used, annotations, findings)
    table = _Table(
        annotations, [c for c, _ in categories], [e.id for e in entries], faulty, boxes == "xyxy"
    )
    for place, record in enumerate(records):
        table.add(place, record)
    rows = np.array(table.rows, np.float64).reshape(-1, 8)
    findings += table.summary()
    findings += _drop_areas(rows, table.num_without_area, annotations)
    # Names may also be relative to the file itself; but those below `images` come first.
    finder = ImageFinder(images, annotations.parent, annotations.parent / "images", below=images)
    paths = [finder.find(entry.name) for entry in entries]
    places = table.places
    if boxes == "xywh":
        _refuse_corners(rows, [entry.size for entry in entries], paths, annotations)
    return RawAnnotations(
        source=str(annotations),
        image_paths=paths,
        image_ids=[entry.id for entry in entries],
        declared_sizes=[entry.size for entry in entries],
        box_images=rows[:, 0].astype(np.int64),
        boxes=rows[:, 1:5],
        labels=rows[:, 5].astype(np.int32),
        is_ignored=rows[:, 6].astype(bool),
        areas=rows[:, 7],
        class_names=tuple(name for _, name in categories),
        category_ids=tuple(category for category, _ in categories),
        describe_box=lambda t: json_element_place(annotations, "annotations", places[t]),
        findings=findings,
    )


@dataclass
class _Table:
    """A row for each annotation that can be used, and its place in the list.

    A row is the image's index, x1, y1, x2, y2, the label, iscrowd and the area (NaN without one).
    """

    path: Path
    category_ids: Sequence[int]
    image_ids: Sequence[int | str]
    faulty_images: set[Any]
    is_xyxy: bool
    rows: list[tuple[float, ...]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    num_without_area: int = 0

    def __post_init__(self) -> None:
        self._label_of = IdLookup(self.category_ids)
        self._index_of = IdLookup(self.image_ids)
        self._ids_seen: set[int | str] = set()
        self._ids_told: set[int | str] = set()

    def add(self, place: int, record: Any) -> None:
        row = None if self.is_xyxy else self._plain_row(record)
        if row is None:
            self._add_by_meaning(place, record)
        else:
            self._ids_seen.add(record["id"])
            self.places.append(place)
            self.rows.append(row)

    def _plain_row(self, record: Any) -> tuple[float, ...] | None:
        """Return the row of an annotation that is as COCO has it, which nearly all are; else None.

        It holds what `_add_by_meaning` makes of it, at half the time.
        """
        try:
            image_id, category_id, own_id = record["image_id"], record["category_id"], record["id"]
            bbox, is_crowd, area = record["bbox"], record["iscrowd"], record["area"]
        except (KeyError, TypeError):
            return None
        if not (
            type(image_id) is type(category_id) is type(own_id) is type(is_crowd) is int
            and own_id not in self._ids_seen
            and (is_crowd == 0 or is_crowd == 1)
            and type(area) in PLAIN_NUMBERS
            and is_plain_box(bbox)
        ):
            return None
        image, label = self._index_of.exact.get(image_id), self._label_of.exact.get(category_id)
        if image is None or label is None:
            return None
        try:
            x, y, width, height = map(float, bbox)
            return image, x, y, x + width, y + height, label, is_crowd, float(area)
        except OverflowError:
            return None

    def _add_by_meaning(self, place: int, record: Any) -> None:
        where = functools.partial(json_element_place, self.path, "annotations", place)
        try:
            image_id, category = record["image_id"], record["category_id"]
            is_crowd, corners = as_flag(record.get("iscrowd")), self._corners(record, where)
            if "id" in record:
                self._note_id(record["id"], where)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            said = f"{type(error).__name__}: {error}"[:300]
            stop(
                "annotation without image_id, category_id or a bbox of four numbers",
                f"{where()}: {said}",
                f"{where()} needs image_id, category_id, a bbox of four numbers, and iscrowd of 0 "
                f"or 1 if it has one: {said}",
            )
            return
        image = self._index_of.find(image_id)
        if image is None:
            if not isinstance(image_id, int | str) or image_id not in self.faulty_images:
                self._drop("annotation of an unknown image", where)
            return
        if corners is None:
            self._drop("annotation without a bbox", where)
            return
        label = self._label_of.find(category)
        if label is None:
            stop(
                "object of an unknown class",
                f"{where()}: category_id {str(category)[:80]!r}",
                f"{where()} has the unknown category_id {_shown(category)}; "
                f"known: {list(self.category_ids)[:200]}",
            )
            return
        area = as_area(record.get("area", np.nan))
        self.num_without_area += area is None
        self.places.append(place)
        self.rows.append((image, *corners, label, is_crowd, np.nan if area is None else area))

    def summary(self) -> list[Finding]:
        """Return what was found, with what concerns the file as a whole."""
        if self.rows and all(row[6] for row in self.rows):
            problem = "every annotation has iscrowd 1: all are regions to ignore, none is an object"
            self.findings.append(Finding(problem, f"{self.path}: {len(self.rows)}", "noted"))
        return self.findings

    def _corners(self, record: Any, where: Callable[[], str]) -> Corners | None:
        bbox = record.get("bbox")
        if is_plain_box(bbox):
            x, y, width, height = map(float, bbox)
            return (x, y, width, height) if self.is_xyxy else (x, y, x + width, y + height)
        corners = as_corners(bbox, is_xyxy=self.is_xyxy)
        if corners is None:
            corners = polygon_corners(record.get("segmentation"))
            if corners is not None:
                problem = "annotation without a bbox: that of its polygon is taken"
                self.findings.append(Finding(problem, where(), "noted"))
        return corners

    def _note_id(self, value: Any, where: Callable[[], str]) -> None:
        if value is None:
            return
        value = as_id(value)
        if value not in self._ids_seen:
            self._ids_seen.add(value)
        elif value not in self._ids_told:
            self._ids_told.add(value)
            self.findings.append(Finding("annotation id used twice", where(), "noted"))

    def _drop(self, problem: str, where: Callable[[], str]) -> None:
        self.findings.append(Finding(problem, where(), "box dropped"))


def _drop_areas(rows: np.ndarray, num_without: int, path: Path) -> list[Finding]:
    """Take away areas that are none, in place: those of the boxes are then taken."""
    findings = []
    if num_without:
        problem = "area that is no number: that of the box is taken"
        findings.append(Finding(problem, f"{path}: {num_without}", "noted"))
    areas = rows[:, 7]
    given = areas[~np.isnan(areas)]
    with np.errstate(invalid="ignore"):  # infinite corners, which cleaning tells of
        sides = rows[:, 3:5] - rows[:, 1:3]
    if len(given) and ((given == 0) | (given == _NO_AREA)).all() and (sides > _NO_AREA).any():
        problem = "areas are all 0 or 1, which is none: those of the boxes are taken"
        findings.append(Finding(problem, f"{path}: {len(given)}", "noted"))
        areas[:] = np.nan
    return findings


def _refuse_corners(
    rows: np.ndarray,
    declared: Sequence[tuple[int, int] | None],
    paths: Sequence[str],
    annotations: Path,
) -> None:
    """Stop where boxes seem to be x1, y1, x2, y2 and not x, y, width, height.

    They leave the images, or disagree with the areas, and as corners they do not.
    """
    with np.errstate(invalid="ignore"):
        values = np.concatenate([rows[:, 1:3], rows[:, 3:5] - rows[:, 1:3]], axis=1)
    is_box = np.isfinite(values).all(axis=1)
    values, rows = values[is_box], rows[is_box]
    if not len(values) or (values[:, 2:] <= values[:, :2]).mean() > _AREA_TOLERANCE:
        return  # as corners they would have no area
    reason = ""
    if (
        _agree(values[:, 2:] - values[:, :2], rows[:, 7])
        > 0.9
        > 0.1
        > _agree(values[:, 2:], rows[:, 7])
    ):
        reason = "their areas are (x2-x1)*(y2-y1)"
    else:
        index = rows[:, 0].astype(np.int64)
        sizes = np.array([(s[1], s[0]) if s else (np.nan, np.nan) for s in declared], np.float64)
        unknown = [i for i in dict.fromkeys(index.tolist()) if np.isnan(sizes[i, 0])][:MAX_IMAGES]
        sizes[unknown] = look_up_sizes([paths[i] for i in unknown])
        if other_orders(values, "xywh", sizes[index], ("xywh", "xyxy")):
            reason = "as x,y,width,height many leave their images"
    if reason:
        stop(
            "boxes look like x1,y1,x2,y2 where x,y,width,height are expected",
            f"{annotations}: {reason}",
            f"{annotations}: boxes look like x1,y1,x2,y2 where COCO has x,y,width,height "
            f"({reason}): write a data YAML with `boxes: xyxy`, or correct the file",
        )


def _agree(sides: np.ndarray, areas: np.ndarray) -> float:
    """Return the share of the areas that are those of boxes with these sides [T, 2]."""
    given = areas > _NO_AREA
    if not given.any():
        return 0.0
    products = sides[given].prod(axis=1)
    return float(np.isclose(products, areas[given], rtol=_AREA_TOLERANCE, atol=1).mean())


def _used_categories(records: Sequence[Any]) -> set[str]:
    """Return the category ids of the annotations, as texts."""
    used = (record.get("category_id") for record in records if isinstance(record, dict))
    return {str(int(c)) if isinstance(c, float) and c == 0 else str(c) for c in used}


def _shown(value: Any) -> str:
    return repr(value)[:80]
