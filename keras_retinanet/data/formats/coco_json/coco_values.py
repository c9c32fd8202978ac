"""What the values in COCO files mean, however a tool has written them: as numbers, texts, null."""

import json
import math
import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

Corners = tuple[float, float, float, float]

_FLAGS = {"0": False, "false": False, "no": False, "": False, "1": True, "true": True, "yes": True}
PLAIN_NUMBERS = frozenset((int, float))
# Names of a box's four values in an object; the first two are its left upper corner.
_BOX_KEYS = (
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
    ("left", "top", "width", "height"),
)
_CORNER_KEYS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))


def as_id(value: Any) -> int | str:
    """Return an id: a whole number, also where it is written 1.0, or a text.

    Raises:
        ValueError: it is neither.
    """
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int and (not isinstance(value, str) or not value.strip()):
        raise ValueError(f"the id {value!r} is neither a whole number nor a text")
    return value


def as_whole_number(value: Any) -> int:
    """Return an id that is a whole number, also where it is written "1" or 1.0.

    Raises:
        ValueError: it is none.
    """
    number = as_id(value)
    if isinstance(number, str):
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}(\.0*)?\s*", number):
            raise ValueError(f"the id {value!r} is no whole number")
        number = int(float(number)) if "." in number else int(number)
    return number


def as_flag(value: Any) -> bool:
    """Return whether a flag such as iscrowd is set: 0, 1, true, false, null, or one as text.

    Raises:
        ValueError: it is something else.
    """
    if value is None:
        return False
    text = str(int(value)) if value in (0, 1) else value
    flag = _FLAGS.get(text.strip().lower()) if isinstance(text, str) else None
    if flag is None:
        raise ValueError(f"{value!r} is neither 0 nor 1")
    return flag


def as_area(value: Any) -> float | None:
    """Return an area in square pixels, also where it is a text; None where it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def as_side(value: Any) -> int | None:
    """Return a side of an image in pixels, also where it is a text; None where it is none."""
    try:
        side = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(side) if 1 <= side < 2**31 else None


def as_corners(value: Any, *, is_xyxy: bool = False) -> Corners | None:
    """Return x1, y1, x2, y2 of a bbox, which holds x, y, width, height or, with `is_xyxy`, corners.

    The four may be numbers or texts, in a list, in the text of one, or in an object with names.
    None: the bbox is empty.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, str) and value.strip():
        value = _from_text(value)
    elif isinstance(value, Mapping) and value:
        value, is_xyxy = _from_object(value, is_xyxy=is_xyxy)
    if value is None or value in ("", [], {}) or value == [None] * 4:
        return None
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f"{str(value)[:80]!r} are not four numbers")
    a, b, c, d = (_number(v) for v in value)
    return (a, b, c, d) if is_xyxy else (a, b, a + c, b + d)


def is_plain_box(value: Any) -> bool:
    """Return whether a bbox is a list of four numbers, as it should be."""
    return type(value) is list and len(value) == 4 and PLAIN_NUMBERS.issuperset(map(type, value))


def polygon_corners(segmentation: Any) -> Corners | None:
    """Return the bounding box of polygons [[x1, y1, x2, y2, ...], ...], None if it is none."""
    if not isinstance(segmentation, list) or not segmentation:
        return None
    parts = segmentation if all(isinstance(p, list) for p in segmentation) else [segmentation]
    if not all(len(part) >= 6 and len(part) % 2 == 0 for part in parts):
        return None
    try:
        xs = [_number(x) for part in parts for x in part[::2]]
        ys = [_number(y) for part in parts for y in part[1::2]]
    except ValueError:
        return None
    corners = (min(xs), min(ys), max(xs), max(ys))
    return corners if all(map(math.isfinite, corners)) else None


class IdLookup:
    """Finds what ids refer to, also where one side writes them as texts: 7, 7.0 and "7".

    Args:
        ids: the ids in their order; an id's place in it is what is found.

    Attributes:
        exact: the places of the ids as they are written.
    """

    def __init__(self, ids: Iterable[int | str]) -> None:
        self.exact: dict[Hashable, int] = {value: i for i, value in enumerate(ids)}
        self._aliases: dict[str, int | None] = {}
        for value, i in self.exact.items():
            alias = str(value).strip()
            self._aliases[alias] = None if alias in self._aliases else i  # None: two ids, one text

    def find(self, value: Any) -> int | None:
        """Return the place of the id that is meant, None where there is none."""
        kind = type(value)
        if kind is int or kind is str:
            found = self.exact.get(value)
            if found is not None:
                return found
        try:
            alias = str(as_id(value)).strip()
            found = self._aliases.get(alias)
            return self._aliases.get(str(as_whole_number(alias))) if found is None else found
        except ValueError:
            return None


def _from_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return [part for part in re.split(r"[\s,;]+", text.strip(" ()[]")) if part]


def _from_object(box: Mapping[str, Any], *, is_xyxy: bool) -> tuple[Any, bool]:
    named = {str(key).lower().replace("_", ""): value for key, value in box.items()}
    for keys in _CORNER_KEYS:
        if all(key in named for key in keys):
            return [named[key] for key in keys], True
    for keys in _BOX_KEYS:
        if all(key in named for key in keys):
            return [named[key] for key in keys], False
    raise ValueError(f"{str(dict(box))[:80]} has no x, y, width and height")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{str(value)[:80]!r} is no number")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("a number of too many digits") from error
