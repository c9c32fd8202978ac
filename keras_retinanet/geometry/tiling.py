"""Tiles: a large image as overlapping pieces, and which detections of a piece another sees better.

NumPy only.
"""

import math
from dataclasses import dataclass

import numpy as np

from keras_retinanet.conventions import MIN_TILE, TILE_OVERLAP

# A box that ends so near to an edge, in shares of the tile, may be one that is cut there.
EDGE_SHARE, LEAST_EDGE = 0.02, 2.0


@dataclass(frozen=True)
class Tiling:
    """How large images are cut into tiles; it is saved with the model.

    Args:
        size: side of a tile in pixels of the image; None: images are not cut.
        overlap: of neighbours, in shares of the side, at least. Objects should not be larger.
    """

    size: int | None = None
    overlap: float = TILE_OVERLAP

    def __post_init__(self) -> None:
        if self.size is not None and (self.size != int(self.size) or self.size < MIN_TILE):
            raise ValueError(f"a tile's size must be {MIN_TILE} pixels or more, got {self.size}")
        if not 0 <= self.overlap <= 0.9:
            raise ValueError(f"a tile's overlap must be between 0 and 0.9, got {self.overlap}")

    def __str__(self) -> str:
        return "none" if self.size is None else f"{self.size} px, overlap {self.overlap:g}"

    def starts(self, length: int) -> np.ndarray:
        """Return where the tiles along a side of an image begin [n], evenly spread over it."""
        if self.size is None or length <= self.size:
            return np.zeros(1, np.int64)
        step = max(1, self.size - math.ceil(self.size * self.overlap))
        rest = length - self.size
        count = -(-rest // step)
        return np.arange(count + 1) * rest // count

    def tiles(self, height: int, width: int) -> np.ndarray:
        """Return the tiles of an image, int [n, 4] xyxy, all of one size, row by row."""
        tops, lefts = self.starts(height), self.starts(width)
        sides = (width, height) if self.size is None else np.minimum(self.size, (width, height))
        corners = np.stack(np.meshgrid(lefts, tops), axis=-1).reshape(-1, 2)
        return np.concatenate([corners, corners + sides], axis=1)

    def seen_better(
        self, boxes: np.ndarray, tile: np.ndarray, height: int, width: int
    ) -> np.ndarray:
        """Return which boxes [n, 4] found in a tile are cut off by an edge inside of the image,
        where the neighbour sees all of the object that this tile sees, and more.

        An object no larger than the overlap, less three margins, is left by one tile exactly, or
        whole by several.

        Args:
            boxes, tile: xyxy in pixels of the image.
        """
        lost = np.zeros(len(boxes), bool)
        for axis, length in ((0, width), (1, height)):
            low, high = boxes[:, axis], boxes[:, axis + 2]
            starts = self.starts(length)
            k = int(np.searchsorted(starts, tile[axis]))
            side = int(tile[axis + 2] - tile[axis])
            edge = self._edge(side)
            if k > 0:
                lost |= (low < tile[axis] + edge) & (high <= starts[k - 1] + side - 2 * edge)
            if k + 1 < len(starts):
                lost |= (high > tile[axis + 2] - edge) & (low >= starts[k + 1] + 2 * edge)
        return lost

    def is_cut(self, boxes: np.ndarray, tile: np.ndarray, height: int, width: int) -> np.ndarray:
        """Return which boxes [n, 4] found in a tile end at an edge inside of the image."""
        cut = np.zeros(len(boxes), bool)
        for axis, length in ((0, width), (1, height)):
            edge = self._edge(int(tile[axis + 2] - tile[axis]))
            cut |= (boxes[:, axis] < tile[axis] + edge) & (tile[axis] > 0)
            cut |= (boxes[:, axis + 2] > tile[axis + 2] - edge) & (tile[axis + 2] < length)
        return cut

    def _edge(self, side: int) -> float:
        return max(LEAST_EDGE, EDGE_SHARE * side)


WHOLE_IMAGES = Tiling()
