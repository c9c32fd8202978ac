"""How large images are to enter the network: where what objects show and what steps cost meet.

Larger images show small objects better, and make every step slower, so that fewer images are seen
in the time there is. Each size is worth

    the visibility of its objects, a mean over the classes
    times what a network learns from as many images as the time allows;

both are rules of thumb with the constants below.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from keras_retinanet.data.checks.anchor_recall import scale_objects
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.tiles import cut_into_tiles
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.tiling import Tiling

# Shorter sides, or sides of squares, that are weighed against each other.
SIZES = (192, 224, 256, 288, 320, 352, 384, 448, 512, 576, 640, 736, 800, 928, 1056)
PHONE_SIZES = tuple(size for size in SIZES if size <= 384)
# The longer side is at most this multiple of the shorter one (the paper: 1333 / 800).
LONGEST = 5 / 3
# An object whose side is so many pixels of the network's input is found half as well as a large
# one: COCO's small objects, about 20 px of 800, have a third to a half of the AP of its large ones.
HALF_VISIBLE = 24.0
# Below this side an object is no more than a spot, whatever it is.
SPOT = 4.0
# So many objects of each class have to be shown until half is learnt that can be: with values of
# ImageNet, and from random ones.
HALF_LEARNT, HALF_LEARNT_FROM_NOTHING = 3000.0, 6000.0
# Images are enlarged at most so much: that adds no detail, but cells for objects that are small.
MOST_ENLARGED = 1.5
# A step up in size, or tiles, have to be worth this much more.
LEAST_GAIN = 0.005
# Tiles are considered where objects of whole images are seen worse than this.
WELL_VISIBLE = 0.75
TILE_SIDES = (320, 416, 512, 640, 800, 1024)
# Photos of fewer images are looked at whole; of others, a sample.
MOST_SAMPLED = 2000


@dataclass(frozen=True)
class InputSize:
    """A way to bring images into the network.

    Attributes:
        policy: the size of the network's input.
        tiling: what images are cut into before; None: nothing.
    """

    policy: InputPolicy
    tiling: Tiling | None = None


@dataclass(frozen=True)
class Worth:
    """What speaks for an input size.

    Attributes:
        pixels: of the network's input, the mean of an image.
        visibility: of objects, 0 to 1, the mean over the classes.
        median_side, small_side: of objects in pixels of the input; a tenth is below `small_side`.
        num_images: images, or tiles, of an epoch.
        num_seen: images, or tiles, that the time allows to be shown.
        learnt: 0 to 1.
    """

    size: InputSize
    pixels: float
    visibility: float
    median_side: float
    small_side: float
    num_images: int
    num_seen: float
    learnt: float

    @property
    def total(self) -> float:
        return self.visibility * self.learnt


def policy_of(size: int, *, resize: str) -> InputPolicy:
    longest = round(size * LONGEST / 32) * 32
    return InputPolicy(resize=resize, size=size, max_size=max(longest, size))


def sampled(dataset: DetectionDataset, seed: int = 0) -> DetectionDataset:
    """Return at most MOST_SAMPLED of the images, always the same ones."""
    if len(dataset) <= MOST_SAMPLED:
        return dataset
    picked = np.random.default_rng(seed).choice(len(dataset), MOST_SAMPLED, replace=False)
    return dataset.select(np.sort(picked))


def weigh(
    dataset: DetectionDataset,
    size: InputSize,
    *,
    num_images: int,
    seen_in_time: Callable[[float], float],
    is_pretrained: bool,
) -> Worth:
    """Return what speaks for an input size.

    Args:
        dataset: a sample of the training images, whole.
        num_images: of the training.
        seen_in_time: number of images that can be shown in the time, from an image's pixels.
    """
    cut = dataset
    if size.tiling is not None:
        cut = cut_into_tiles(dataset, size.tiling, min_visible=0.25)
    scaled = scale_objects(cut, size.policy, size.policy.size)
    sides = np.sqrt((scaled.boxes[:, 2:] - scaled.boxes[:, :2]).prod(axis=1))
    labels = cut.labels[scaled.rows]
    seen = sides**2 / (sides**2 + HALF_VISIBLE**2)
    classes = np.unique(labels)
    height, width = size.policy.canvas_size(*size.policy.scaled_size(cut.heights, cut.widths))
    pixels = float((np.asarray(height, np.float64) * np.asarray(width)).mean())
    num_seen = seen_in_time(pixels)
    shown = num_seen * len(sides) / max(1, len(cut)) / max(1, len(classes))
    half = HALF_LEARNT if is_pretrained else HALF_LEARNT_FROM_NOTHING
    return Worth(
        size=size,
        pixels=pixels,
        visibility=float(np.mean([seen[labels == k].mean() for k in classes])),
        median_side=float(np.median(sides)),
        small_side=float(np.percentile(sides, 10)),
        num_images=round(num_images * len(cut) / len(dataset)),
        num_seen=num_seen,
        learnt=shown / (shown + half),
    )


def candidates(dataset: DetectionDataset, *, sizes: Sequence[int], resize: str) -> list[InputSize]:
    """Return the sizes that images are not enlarged too much for, the smallest first."""
    shorter = float(np.median(np.minimum(dataset.heights, dataset.widths)))
    if resize != "shorter_side":
        shorter = float(np.median(np.maximum(dataset.heights, dataset.widths)))
    fitting = [size for size in sizes if size <= shorter * MOST_ENLARGED] or [min(sizes)]
    return [InputSize(policy_of(size, resize=resize)) for size in fitting]


def tilings(dataset: DetectionDataset) -> list[InputSize]:
    """Return ways to cut the images of a data set into tiles at their own resolution."""
    is_object = ~dataset.is_ignored
    sides = (dataset.boxes[:, 2:] - dataset.boxes[:, :2]).max(axis=1)[is_object]
    large = float(np.percentile(sides, 95))
    longer = float(np.median(np.maximum(dataset.heights, dataset.widths)))
    found = []
    for side in TILE_SIDES:
        # An object that is larger than the overlap may lie whole in no tile.
        overlap = max(0.1, np.ceil(large / side * 20) / 20)
        if overlap <= 0.5 and 2 * side <= longer:
            found.append(
                InputSize(
                    InputPolicy(resize="square", size=-(-side // 32) * 32, max_size=1333),
                    Tiling(side, float(overlap)),
                )
            )
    return found


def best(worths: Sequence[Worth]) -> Worth:
    """Return the one that is worth most; of about equal ones, the cheapest."""
    most = max(worth.total for worth in worths)
    good = [worth for worth in worths if worth.total >= most - LEAST_GAIN]
    return min(good, key=lambda worth: worth.pixels)
