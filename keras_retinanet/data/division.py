"""Dividing the images of one split among several: seeded, groups of copies whole, and each class in
all parts as far as that goes."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.errors import DataError

REST = "train"


def divide_images(
    dataset: DetectionDataset,
    groups: np.ndarray,
    shares: Mapping[str, float],
    *,
    seed: int,
    source: str,
) -> dict[str, np.ndarray]:
    """Return the images of each part in ascending order: of "train", which gets what the shares
    leave, and of the parts that `shares` names.

    Classes are dealt with from the rarest on, as in Sechidis et al., "On the Stratification of
    Multi-Label Data" (2011): each group goes to the part that lacks most of the class. A class of
    two groups is in two parts, the first of which is train.

    Args:
        groups: [N], images of the same number stay together.
        shares: of the images, by part; their sum is below 1.
        source: names the data in messages.

    Raises:
        DataError: a part would be left without an image.
    """
    names = [REST, *shares]
    members, sizes, held = _held_by_groups(dataset, groups)
    fractions = np.array([1 - sum(shares.values()), *shares.values()])
    dealer = _Dealer(sizes, held, fractions, np.random.default_rng(seed))
    part_of = dealer.deal()[members]
    parts = {name: np.flatnonzero(part_of == i) for i, name in enumerate(names)}
    for name, images in parts.items():
        if not len(images):
            raise DataError(
                f"{source}: no image is left for {name}: the {len(dataset)} images are "
                f"{len(sizes)} groups that look alike or are copies, and no class of train is "
                "given away whole: add images, or keep only copies together, by --groups bytes or "
                "val_groups: bytes"
            )
    return parts


def _held_by_groups(
    dataset: DetectionDataset, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[dict[int, int]]]:
    """Return each image's group from 0 on [N], the groups' numbers of images [G], and of each group
    the number of images by class."""
    _, members = np.unique(groups, return_inverse=True)
    sizes = np.bincount(members)
    images = np.repeat(np.arange(len(dataset)), np.diff(dataset.row_splits))
    is_object = ~dataset.is_ignored & (dataset.labels >= 0)
    num_labels = max(1, len(dataset.class_names))
    pairs = np.unique(images[is_object] * num_labels + dataset.labels[is_object])
    held: list[dict[int, int]] = [{} for _ in sizes]
    for group, label in zip(
        members[pairs // num_labels].tolist(), (pairs % num_labels).tolist(), strict=True
    ):
        held[group][label] = held[group].get(label, 0) + 1
    return members, sizes, held


class _Dealer:
    """Deals groups of images to parts, class by class; the images as such are the last class."""

    def __init__(
        self,
        sizes: np.ndarray,
        held: Sequence[Mapping[int, int]],
        fractions: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        self._every = max((label for group in held for label in group), default=-1) + 1
        self._held = [{**group, self._every: int(size)} for group, size in zip(held, sizes)]
        totals = np.zeros(self._every + 1)
        self._groups_of: list[list[int]] = [[] for _ in totals]
        for group in rng.permutation(len(sizes)).tolist():
            for label, count in self._held[group].items():
                totals[label] += count
                self._groups_of[label].append(group)
        self._wanted = fractions[:, None] * totals  # images that a part still lacks, by class
        self._num_dealt = np.zeros(self._wanted.shape, np.int64)
        self._part_of = np.full(len(sizes), -1)

    def deal(self) -> np.ndarray:
        """Return the part of each group [G]."""
        labels = sorted(range(self._every), key=lambda label: len(self._groups_of[label]))
        for label in [*labels, self._every]:
            left = [group for group in self._groups_of[label] if self._part_of[group] < 0]
            left.sort(key=lambda group: -self._held[group][label])  # stable: else as shuffled
            for done, group in enumerate(left):
                self._give(group, self._choose(label, len(left) - done))
        return self._part_of

    def _choose(self, label: int, num_left: int) -> int:
        """Return the part to get the next of `num_left` groups with the class."""
        without = np.flatnonzero(self._num_dealt[:, label] == 0)
        if len(without) >= num_left:  # the last chance of these
            return int(without[0])
        wanted, wanted_images = self._wanted[:, label], self._wanted[:, self._every]
        return max(range(len(wanted)), key=lambda part: (wanted[part], wanted_images[part]))

    def _give(self, group: int, part: int) -> None:
        self._part_of[group] = part
        for label, count in self._held[group].items():
            self._wanted[part, label] -= count
            self._num_dealt[part, label] += 1
