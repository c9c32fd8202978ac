"""RawAnnotations: what a reader hands over, for `cleaning` to make a DetectionDataset of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_retinanet.data.dataset import Finding


@dataclass
class RawAnnotations:
    """What the annotation files of a split say, unchecked.

    Attributes:
        source: names the data set in messages.
        image_paths, image_ids: N each.
        declared_sizes: N (height, width) as annotated, or None.
        box_images: [T] int64, the image of each box.
        boxes: [T, 4] float xyxy, in pixels or, with `boxes_normalized`, as shares of the image.
        labels, is_ignored: [T].
        areas: [T] in square pixels, NaN where the file gives none: then that of the box is taken.
        describe_box: says where box t is written.
        findings: what the reader itself found.
        boxes_normalized: boxes are shares of the image's width and height; `clean` makes them
            pixels, once it knows the sizes.
    """

    source: str
    image_paths: list[str]
    image_ids: Sequence[int | str]
    declared_sizes: Sequence[tuple[int, int] | None]
    box_images: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    is_ignored: np.ndarray
    areas: np.ndarray
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    describe_box: Callable[[int], str]
    findings: list[Finding] = field(default_factory=list)
    boxes_normalized: bool = False
