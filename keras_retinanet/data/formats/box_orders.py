"""Which four numbers a box is written as: told by the sizes of the images, and by areas."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_retinanet.data.cleaning import MAX_NORMALIZED
from keras_retinanet.data.images.inspection import inspect_images

# What four columns may be: corners, corners by axis, corner and size, centre and size.
ORDERS = ("xyxy", "xxyy", "xywh", "cxcywh")
# A box may reach out of its image by this much, in pixels and as a share of the side: sloppy work.
_TOLERANCE_PIXELS = 2.0
_TOLERANCE_SHARE = 0.02
# An order is wrong if more than this share of the boxes, and more than one, contradict it ...
_MAX_BAD_SHARE = 0.05
# ... and another is right if no more than this do.
_MAX_BAD_SHARE_OF_RIGHT = 0.01
# Images whose headers are read to know their sizes.
MAX_IMAGES = 100


def to_corners(values: np.ndarray, order: str) -> np.ndarray:
    """Return boxes [T, 4] of one of ORDERS as xyxy."""
    a, b, c, d = np.moveaxis(values, 1, 0)
    corners = {
        "xyxy": (a, b, c, d),
        "xxyy": (a, c, b, d),
        "xywh": (a, b, a + c, b + d),
        "cxcywh": (a - c / 2, b - d / 2, a + c / 2, b + d / 2),
    }
    return np.stack(corners[order], axis=1)


def other_orders(
    values: np.ndarray, order: str, sizes: np.ndarray, candidates: Sequence[str] = ORDERS
) -> list[str]:
    """Return the orders that boxes are more likely in than in `order`; none, if it may be right.

    Args:
        values: [T, 4], as written.
        sizes: [T, 2] (width, height) of the image of each box, NaN where unknown.
        candidates: the orders to think of.
    """
    usable = np.isfinite(values).all(axis=1)
    values, sizes = values[usable], sizes[usable]
    if len(values) < 2 or np.abs(values).max() <= MAX_NORMALIZED:
        return []
    bad = {name: _contradictions(to_corners(values, name), sizes) for name in candidates}
    if bad[order] < 2 or bad[order] <= _MAX_BAD_SHARE * len(values):
        return []
    limit = _MAX_BAD_SHARE_OF_RIGHT * len(values)
    return [name for name in candidates if name != order and bad[name] <= limit]


def look_up_sizes(paths: Sequence[str | Path]) -> np.ndarray:
    """Return (width, height) of image files [N, 2], NaN where they cannot be told."""
    headers = inspect_images([str(path) for path in paths], decode=False)
    sizes = [(np.nan, np.nan) if h.fault else (h.width, h.height) for h in headers]
    return np.array(sizes, np.float64).reshape(-1, 2)


def _contradictions(boxes: np.ndarray, sizes: np.ndarray) -> int:
    """Return how many boxes have no area, or leave their images."""
    bad = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    tolerance = np.maximum(_TOLERANCE_PIXELS, _TOLERANCE_SHARE * sizes)
    with np.errstate(invalid="ignore"):  # comparisons with NaN are false
        bad |= (boxes[:, 2:] > sizes + tolerance).any(axis=1)
        bad |= (boxes[:, :2] < -tolerance).any(axis=1)
    return int(bad.sum())
