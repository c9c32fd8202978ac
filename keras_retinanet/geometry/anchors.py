"""The anchors: which reference boxes an image of a given size has, level by level."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_retinanet.conventions import ANCHOR_RATIOS, ANCHOR_SCALES, ANCHOR_SIZES, LEVELS, Tensor

ORDERS = ("ratio", "scale")
STEPS = ("level", "grid")


@dataclass(frozen=True)
class AnchorGenerator:
    """Anchors of every level for an image size (section 4, "Anchors").

    The order is levels, then rows, columns and the cell's A anchors: the order in which the heads'
    outputs are flattened.

    Args:
        sizes: side of the square anchor of scale 1 in pixels, one for each level.
        ratios: height / width.
        scales: multiples of the size (sub-octaves).
        levels: feature levels; level l has stride 2 ** l and ceil(side / stride) cells.
        order: what varies slowest within a cell, "ratio" or "scale" (Detectron's families differ).
        offset: the anchors' centre within a cell, in strides (0.5 = the cell's centre).
        rounded: round the corners relative to the centre to whole pixels (torchvision).
        integer_sizes: cut the scales' sizes to whole numbers, 40 for 40.3 (torchvision).
        step: between centres, "level": 2 ** level, or "grid": side // cells (torchvision).
    """

    sizes: Sequence[float] = ANCHOR_SIZES
    ratios: Sequence[float] = ANCHOR_RATIOS
    scales: Sequence[float] = ANCHOR_SCALES
    levels: Sequence[int] = LEVELS
    order: str = "ratio"
    offset: float = 0.5
    rounded: bool = False
    integer_sizes: bool = False
    step: str = "level"

    def __post_init__(self) -> None:
        for name, kind in (("sizes", float), ("ratios", float), ("scales", float), ("levels", int)):
            object.__setattr__(self, name, tuple(kind(x) for x in getattr(self, name)))
        if len(self.sizes) != len(self.levels):
            raise ValueError(
                f"sizes must hold one anchor size for each of the levels {self.levels}, "
                f"got {len(self.sizes)}: {self.sizes}"
            )
        for name, choices in (("order", ORDERS), ("step", STEPS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {choices}, not {getattr(self, name)!r}")
        if min(*self.sizes, *self.ratios, *self.scales) <= 0:
            raise ValueError("sizes, ratios and scales must be positive")

    @property
    def num_per_cell(self) -> int:
        """Number of anchors A at each position of a feature map."""
        return len(self.ratios) * len(self.scales)

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(2**level for level in self.levels)

    def base_anchors(self, size: float) -> np.ndarray:
        """Return the anchors [A, 4] of one cell, centred at the origin."""
        if self.order == "ratio":
            pairs = [(ratio, scale) for ratio in self.ratios for scale in self.scales]
        else:
            pairs = [(ratio, scale) for scale in self.scales for ratio in self.ratios]
        ratio, scale = np.asarray(pairs, np.float64).T
        side = np.floor(size * scale) if self.integer_sizes else size * scale
        half_width = 0.5 * side / np.sqrt(ratio)
        half_height = half_width * ratio
        base = np.stack([-half_width, -half_height, half_width, half_height], axis=1)
        return (np.round(base) if self.rounded else base).astype(np.float32)

    def grid_sizes(self, height: int | Tensor, width: int | Tensor) -> list[tuple]:
        """Return (rows, columns) of each level's feature map for an image of height x width."""
        # Not -(-side // stride): ONNX divides integers towards zero.
        return [
            ((height + stride - 1) // stride, (width + stride - 1) // stride)
            for stride in self.strides
        ]

    def layout(self, height: int | Tensor, width: int | Tensor) -> list[tuple]:
        """Return each level's size, its grid and the centres' distances in pixels (down, right)."""
        grids = self.grid_sizes(height, width)
        distances = [(stride, stride) for stride in self.strides]
        if self.step == "grid":
            distances = [(height // rows, width // columns) for rows, columns in grids]
        return list(zip(self.sizes, grids, distances, strict=True))

    def num_anchors_per_level(self, height: int | Tensor, width: int | Tensor) -> list:
        """Return the number of anchors of each level for an image of height x width."""
        grids = self.grid_sizes(height, width)
        return [rows * columns * self.num_per_cell for rows, columns in grids]

    def __call__(self, height: int | Tensor, width: int | Tensor) -> Tensor:
        """Return the anchors [rows * columns * A of all levels, 4] of a height x width image."""
        levels = self.layout(height, width)
        return ops.concatenate([self._level_anchors(*level) for level in levels], axis=0)

    def _level_anchors(self, size: float, grid: tuple, distances: tuple) -> Tensor:
        y, x = (
            (ops.cast(ops.arange(cells), "float32") + self.offset) * ops.cast(distance, "float32")
            for cells, distance in zip(grid, distances, strict=True)
        )
        base = self.base_anchors(size)
        # [rows, columns, A] for each of the four corners, by broadcasting.
        all_cells = ops.zeros((*grid, 1), "float32")
        centres = (x[None, :, None] + all_cells, y[:, None, None] + all_cells)
        corners = [centres[i % 2] + base[:, i] for i in range(4)]
        return ops.reshape(ops.stack(corners, axis=-1), (-1, 4))
