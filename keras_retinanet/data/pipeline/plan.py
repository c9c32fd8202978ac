"""The order of training: which images make up each batch of each epoch, at which size. NumPy only,
and a function of the seed alone, so that any batch of any epoch can be told at any time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_retinanet.geometry.input_policy import InputPolicy


@dataclass(frozen=True)
class TrainingPlan:
    """Batches of images of one orientation (landscape or portrait), so that little is padded.

    An epoch shows every image once. What is left over of both orientations forms the last batches,
    which may be mixed; the very last is filled up with images shown before: all batches are full.

    Args:
        heights, widths: [N], of the upright images in pixels.
        sizes: takes the place of the policy's size: one is drawn for each image (scale jitter).
        seed: of order, sizes and the images' augmentations.
        shuffle: if False, keep the order of the data set within each orientation.
        repeats: [N], how often an epoch shows each image on average, in place of once each; an
            image with 1.3 is shown once or twice, and the epoch's length is fixed.
        mosaic, mixup: shares of the images that get partners: three for a mosaic, one for mixup.
    """

    heights: np.ndarray
    widths: np.ndarray
    input_policy: InputPolicy
    batch_size: int
    seed: int = 0
    sizes: Sequence[int] = ()
    shuffle: bool = True
    repeats: np.ndarray | None = None
    mosaic: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        largest = max(self.sizes, default=0)
        if self.input_policy.has_one_canvas and largest > self.input_policy.size:
            raise ValueError(
                f"sizes must not be above the canvas' side {self.input_policy.size}, got {largest}"
            )
        if self.repeats is not None and len(self.repeats) != len(self.heights):
            raise ValueError(f"repeats has {len(self.repeats)} numbers, not {len(self.heights)}")

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_draws // self.batch_size)

    @property
    def num_draws(self) -> int:
        """Number of images that an epoch shows, the filling of the last batch left out."""
        if self.repeats is None:
            return len(self.heights)
        return max(1, round(float(np.sum(self.repeats))))

    def epoch(self, number: int) -> dict[str, np.ndarray]:
        """Return, for each image of an epoch in order, what the pipeline needs to know.

        "index" of the image, "scaled_size" [n, 2] and "canvas_size" [n, 2] (height, width; the
        canvas is common to a batch), "seed" [n, 2] for the image's augmentations, and "partners"
        [n, 4]: indices of three images for a mosaic and of one for mixup, -1 where there is none.
        """
        rng = np.random.default_rng((self.seed, number))
        order = self._order(rng)
        size = rng.choice(self.sizes, len(order)) if len(self.sizes) else None
        scaled = np.stack(
            self.input_policy.scaled_size(self.heights[order], self.widths[order], size), axis=1
        )
        canvas = np.stack(self.input_policy.canvas_size(scaled[:, 0], scaled[:, 1]), axis=1)
        canvas = canvas.reshape(-1, self.batch_size, 2).max(axis=1)
        return {
            "index": order.astype(np.int64),
            "scaled_size": scaled.astype(np.int32),
            "canvas_size": np.repeat(canvas, self.batch_size, axis=0).astype(np.int32),
            "seed": rng.integers(0, 2**31, (len(order), 2), dtype=np.int32),
            # The last draws, so that the others do not depend on whether there are partners.
            "partners": self._partners(rng, order),
        }

    def batch(self, epoch: int, step: int) -> np.ndarray:
        """Return the indices of the images in one batch, and then those of their partners."""
        arrays = self.epoch(epoch)
        rows = slice(step * self.batch_size, (step + 1) * self.batch_size)
        partners = arrays["partners"][rows].ravel()
        return np.concatenate([arrays["index"][rows], partners[partners >= 0]])

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        drawn = np.arange(len(self.heights)) if self.repeats is None else self._draw(rng)
        order = rng.permutation(drawn) if self.shuffle else drawn
        is_portrait = self.heights[order] > self.widths[order]
        batches, left_over = [], []
        for group in (order[~is_portrait], order[is_portrait]):
            full = len(group) // self.batch_size * self.batch_size
            batches.extend(group[:full].reshape(-1, self.batch_size))
            left_over.append(group[full:])
        if self.shuffle:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        left_over = np.concatenate(left_over)
        if len(left_over):
            full = -(-len(left_over) // self.batch_size) * self.batch_size
            filling = np.resize(order, full - len(left_over))
            batches.extend(np.concatenate([left_over, filling]).reshape(-1, self.batch_size))
        return np.concatenate(batches)

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return `num_draws` indices in order, each image as often as `repeats` says on average."""
        # Systematic sampling: whole numbers between the ends of intervals as long as the repeats.
        shuffled = rng.permutation(len(self.repeats))
        ends = np.cumsum(np.asarray(self.repeats, np.float64)[shuffled])
        ends *= self.num_draws / ends[-1]
        ends[-1] = self.num_draws
        counts = np.diff(np.floor(ends + rng.random()), prepend=0).astype(np.int64)
        return np.sort(np.repeat(shuffled, counts))

    def _partners(self, rng: np.random.Generator, order: np.ndarray) -> np.ndarray:
        partners = np.full((len(order), 4), -1, np.int64)
        if self.mosaic or self.mixup:
            partners = rng.choice(order, partners.shape)
            chances = rng.random((len(order), 2)) >= (self.mosaic, self.mixup)
            partners[np.repeat(chances, (3, 1), axis=1)] = -1
        return partners.astype(np.int64)
