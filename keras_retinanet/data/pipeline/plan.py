"""The order of training: which images make up each batch of each epoch, at which size. NumPy only,
and a function of the seed alone, so that any batch of any epoch can be told at any time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy

if TYPE_CHECKING:  # models and data know nothing of each other
    from keras_retinanet.models.retinanet import RetinaNet


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
        anchor_generator: the anchors that the batches' objects are matched with.
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
    anchor_generator: AnchorGenerator = field(default_factory=AnchorGenerator)

    @classmethod
    def of(
        cls,
        dataset: DetectionDataset,
        model: "RetinaNet | InputPolicy",
        *,
        batch_size: int,
        **options: Any,
    ) -> "TrainingPlan":
        """Return the plan of a data set for a model, or for an input policy alone.

        Args:
            options: the other attributes, in place of their defaults, the model's anchors and the
                data set's repeats.

        Raises:
            ValueError: the model has other classes than the data set.
        """
        policy = model
        if not isinstance(model, InputPolicy):
            policy = model.input_policy
            _refuse_other_classes(dataset, model)
            options = {"anchor_generator": model.anchor_generator, **options}
        options = {"repeats": dataset.repeats, **options}
        return cls(dataset.heights, dataset.widths, policy, batch_size, **options)

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
        drawn = np.arange(len(self.heights))
        if self.repeats is not None:
            drawn = self._draw(rng, np.asarray(self.repeats, np.float64))
        order = rng.permutation(drawn) if self.shuffle else drawn
        is_portrait = self.heights[order] > self.widths[order]
        batches: list[np.ndarray] = []
        rest = []
        for group in (order[~is_portrait], order[is_portrait]):
            full = len(group) // self.batch_size * self.batch_size
            batches.extend(group[:full].reshape(-1, self.batch_size))
            rest.append(group[full:])
        if self.shuffle:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        left_over = np.concatenate(rest)
        if len(left_over):
            full = -(-len(left_over) // self.batch_size) * self.batch_size
            filling = np.resize(order, full - len(left_over))
            batches.extend(np.concatenate([left_over, filling]).reshape(-1, self.batch_size))
        return np.concatenate(batches)

    def _draw(self, rng: np.random.Generator, repeats: np.ndarray) -> np.ndarray:
        """Return `num_draws` indices in order, each image as often as `repeats` says on average."""
        # Systematic sampling: whole numbers between the ends of intervals as long as the repeats.
        shuffled = rng.permutation(len(repeats))
        ends = np.cumsum(repeats[shuffled])
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


def _refuse_other_classes(dataset: DetectionDataset, model: "RetinaNet") -> None:
    numbers = tuple(str(i) for i in range(len(dataset.class_names)))  # of a model without names
    if model.class_names not in (tuple(dataset.class_names), numbers):
        raise ValueError(
            f"the model's classes {model.class_names} are not the data set's, "
            f"{tuple(dataset.class_names)}: take dataset.with_classes(model.class_names), or a "
            "model with class_names=dataset.class_names"
        )
