"""The anchors: which reference boxes an image of a given size has, level by level."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_retinanet.conventions import ANCHOR_RATIOS, ANCHOR_SCALES, ANCHOR_SIZES, LEVELS, Tensor

ORDERS = ("ratio", "scale")


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
    """

    sizes: Sequence[float] = ANCHOR_SIZES
    ratios: Sequence[float] = ANCHOR_RATIOS
    scales: Sequence[float] = ANCHOR_SCALES
    levels: Sequence[int] = LEVELS
    order: str = "ratio"
    offset: float = 0.5
    rounded: bool = False

    def __post_init__(self) -> None:
        for name, kind in (("sizes", float), ("ratios", float), ("scales", float), ("levels", int)):
            object.__setattr__(self, name, tuple(kind(x) for x in getattr(self, name)))
        if len(self.sizes) != len(self.levels):
            raise ValueError(
                f"sizes must hold one anchor size for each of the levels {self.levels}, "
                f"got {len(self.sizes)}: {self.sizes}"
            )
        if self.order not in ORDERS:
            raise ValueError(f"order must be one of {ORDERS}, not {self.order!r}")
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
        half_width = 0.5 * size * scale / np.sqrt(ratio)
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

    def num_anchors_per_level(self, height: int | Tensor, width: int | Tensor) -> list:
        """Return the number of anchors of each level for an image of height x width."""
        grids = self.grid_sizes(height, width)
        return [rows * columns * self.num_per_cell for rows, columns in grids]

    def __call__(self, height: int | Tensor, width: int | Tensor) -> Tensor:
        """Return the anchors [rows * columns * A of all levels, 4] of a height x width image."""
        return ops.concatenate(
            [
                self._level_anchors(size, stride, rows, columns)
                for size, stride, (rows, columns) in zip(
                    self.sizes, self.strides, self.grid_sizes(height, width), strict=True
                )
            ],
            axis=0,
        )

    def _level_anchors(self, size: float, stride: int, rows: Tensor, columns: Tensor) -> Tensor:
        y = (ops.cast(ops.arange(rows), "float32") + self.offset) * stride
        x = (ops.cast(ops.arange(columns), "float32") + self.offset) * stride
        base = self.base_anchors(size)
        # [rows, columns, A] for each of the four corners, by broadcasting.
        corners = [
            (x[None, :, None] if i % 2 == 0 else y[:, None, None])
            + base[:, i]
            + ops.zeros((rows, columns, 1), "float32")
            for i in range(4)
        ]
        return ops.reshape(ops.stack(corners, axis=-1), (-1, 4))
