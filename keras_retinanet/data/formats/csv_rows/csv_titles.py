"""What the columns of a CSV file of boxes hold, told by the titles in its header."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# What tools write over a column, without case, spaces and punctuation; likelier ones first.
_PATHS = (
    "path", "filename", "filepath", "file", "imagepath", "imagename", "imagefile",
    "imagefilename", "imagefilepath", "image", "imgpath", "imgname", "imgfile", "img", "images",
    "imageid", "imgid", "imageurl", "location", "uri", "url", "picture", "photo", "frame",
)  # fmt: skip
_CLASSES = (
    "class", "classname", "label", "labelname", "name", "category", "categoryname", "objectclass",
    "objectname", "object", "classes", "labels", "classlabel", "type", "species", "tag",
)  # fmt: skip
# Taken where there is no name of the class.
_CLASS_IDS = ("classid", "labelid", "categoryid", "classindex", "classnumber", "labelidx")
_WIDTHS, _HEIGHTS = ("width", "w", "boxwidth"), ("height", "h", "boxheight")
_SUBSETS = ("split", "subset", "set", "partition", "fold", "usage", "dataset", "datasetsplit")
_CELLS = ("bbox", "box", "boundingbox", "bboxes", "bndbox")
# The order of a box, and the titles of its four columns.
_BOXES: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    ("xyxy", (("x0",), ("y0",), ("x1",), ("y1",))),
    (
        "xyxy",
        (
            ("x1", "xmin", "minx", "left", "xstart", "startx", "xleft", "xtl", "topleftx"),
            ("y1", "ymin", "miny", "top", "ystart", "starty", "ytop", "ytl", "toplefty"),
            ("x2", "xmax", "maxx", "right", "xend", "endx", "xright", "xbr", "bottomrightx"),
            ("y2", "ymax", "maxy", "bottom", "yend", "endy", "ybottom", "ybr", "bottomrighty"),
        ),
    ),
    ("cxcywh", (("xcenter", "cx", "centerx", "xc"), ("ycenter", "cy", "centery", "yc"),
                _WIDTHS, _HEIGHTS)),
    (
        "xywh",
        (
            ("x", "xmin", "left", "x1", "x0", "topleftx", "xtl"),
            ("y", "ymin", "top", "y1", "y0", "toplefty", "ytl"),
            _WIDTHS,
            _HEIGHTS,
        ),
    ),
)  # fmt: skip
_PREFIX = re.compile(r"^(bounding_?box|bndbox|bbox|box|bb|roi|region|rect)_?(?=[a-z0-9])")
# What a message names.
WANTED = (
    "a column of the image (filename, image_id, path, ...), one of the class (class, label, name, "
    "...), and those of the box (xmin,ymin,xmax,ymax or x,y,width,height)"
)


@dataclass(frozen=True)
class Columns:
    """Where the columns of a file are.

    Attributes:
        image: of the image's name.
        box: four, or one whose cells hold "[x, y, width, height]".
        name: of the class; None: there is no such column.
        order: of the box's numbers, one of box_orders.ORDERS.
        count: cells in a row.
        subset: of the split that a row belongs to; None: there is no such column.
    """

    image: int
    box: tuple[int, ...]
    name: int | None
    order: str
    count: int
    subset: int | None = None


def read_titles(titles: Sequence[str], sample: Sequence[Sequence[str]]) -> Columns | str:
    """Return the columns that the titles of a header name, or what they lack.

    Args:
        sample: cells of some rows, which tell names of classes from their numbers.
    """
    plain = [_plain(title) for title in titles]
    image = _first(plain, _PATHS)
    if isinstance(image, str):
        return f"more than one column of the image: {image}"
    if image is None and "id" in plain:
        image = plain.index("id")
    bare = [
        _plain(_PREFIX.sub("", _snake(title))) if _plain(title) not in _CELLS else _plain(title)
        for title in titles
    ]
    # A prefix tells the box's width from the image's.
    prefixed = [b if b != p else "" for b, p in zip(bare, plain, strict=True)]
    box, order = _box(bare, prefixed)
    if image is None or not box:
        return "no column of the image" if image is None else "no columns of the box"
    name = _class(plain, bare, sample, {image, *box})
    if isinstance(name, str):
        return name
    taken = {image, *box, name}
    subset = next((i for i, t in enumerate(plain) if t in _SUBSETS and i not in taken), None)
    return Columns(image, box, name, order, len(titles), subset)


def _box(bare: list[str], prefixed: list[str]) -> tuple[tuple[int, ...], str]:
    for order, titles in _BOXES:
        found = []
        for names in titles:
            place = next((prefixed.index(n) for n in names if n in prefixed), None)
            if place is None:
                place = next((bare.index(n) for n in names if n in bare), None)
            found.append(place)
        places = tuple(place for place in found if place is not None)
        if len(places) == 4 and len(set(places)) == 4:
            return places, order
    cell = next((bare.index(name) for name in _CELLS if name in bare), None)
    return ((), "") if cell is None else ((cell,), "xywh")


def _class(
    plain: list[str], bare: list[str], sample: Sequence[Sequence[str]], taken: set[int]
) -> int | str | None:
    """Return the column of the class, None if there is none, or why it cannot be told."""
    found = [i for i, title in enumerate(plain) if title in _CLASSES and i not in taken]
    found = found or [i for i, title in enumerate(bare) if title in _CLASSES and i not in taken]
    if len(found) > 1:
        rows = [cells for cells in sample if len(cells) > max(found)]
        named = [i for i in found if not all(is_number(cells[i]) for cells in rows)]
        found = named or found[:1]
        if any([cells[i] for cells in rows] != [cells[found[0]] for cells in rows] for i in found):
            return "more than one column of the class"
    if not found:
        found = [i for i, title in enumerate(plain) if title in _CLASS_IDS and i not in taken]
    return found[0] if found else None


def _first(plain: list[str], names: tuple[str, ...]) -> int | str | None:
    """Return where the likeliest of the names is; the titles, if two mean the same."""
    found = [name for name in names if name in plain]
    if found and plain.count(found[0]) > 1:
        return found[0]
    return plain.index(found[0]) if found else None


def is_number(cell: str) -> bool:
    """Return whether a cell holds a number."""
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _snake(title: str) -> str:
    """Return a title in lower case, its words divided by _: "xMin" is x_min."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", title.strip().lstrip("#").strip())
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def _plain(title: str) -> str:
    return _snake(title).replace("_", "")
