"""Anchor assignment: which object, if any, each anchor is trained to find. TensorFlow."""

from typing import Any

import tensorflow as tf

from keras_retinanet.conventions import BACKGROUND, IGNORE, NEGATIVE_IOU, POSITIVE_IOU, Tensor
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import box_area

# An anchor that lies by this share of its own area in an ignored region (crowd, difficult) is not
# background: what it sees may well be an object.
IGNORED_REGION_COVER = 0.5
# Thresholds are met within float32's rounding, so that an IoU of exactly 0.5 is one.
_ROUNDING = 1.0 - 1e-6


def match_anchors(
    gt_boxes: Tensor,
    ignored_regions: Tensor,
    *,
    anchor_generator: AnchorGenerator,
    height: int | Tensor,
    width: int | Tensor,
    positive_iou: float = POSITIVE_IOU,
    negative_iou: float = NEGATIVE_IOU,
    force_match: bool | str = False,
) -> Tensor:
    """Return the matches [A] int32 of an image's anchors (section 4, "Anchors").

    An anchor's match is the index of the object with the highest IoU if that is at least
    `positive_iou`, BACKGROUND if it is below `negative_iou`, else IGNORE. Anchors mostly inside an
    ignored region are IGNORE instead of BACKGROUND.

    Args:
        gt_boxes: [M, 4] xyxy in pixels of the network's input; M may be 0.
        ignored_regions: [R, 4], likewise.
        height, width: the input's size in pixels, padding included.
        force_match: "best" (or True) gives every object its best anchors, however low their IoU;
            "own_best" gives these to the objects that they overlap most (Detectron2, torchvision).
    """
    force_match = _how_forced(force_match)
    # Intersection and union of a grid of equal boxes with an object separate into rows and columns:
    # with S = area(anchor) + area(object), IoU = r / (1 - r) for r = intersection / S, and r is the
    # product of a tensor [M, A, rows, 1] and one [M, A, 1, columns]. One product for each pair of
    # anchor and object is then all of the work: ten times less than pairwise IoU.
    gt_areas = box_area(gt_boxes)
    positive = positive_iou / (1.0 + positive_iou) * _ROUNDING
    negative = negative_iou / (1.0 + negative_iou) * _ROUNDING
    matches, shares = [], []
    for grid in anchor_grids(anchor_generator, height, width):
        candidates = tf.range(tf.shape(gt_boxes)[0])
        if not force_match:
            # IoU is at most the ratio of the areas: other objects cannot reach negative_iou here.
            possible = (gt_areas >= negative_iou * _ROUNDING * min(grid.areas)) & (
                negative_iou * _ROUNDING * gt_areas <= max(grid.areas)
            )
            candidates = tf.boolean_mask(candidates, possible)
        areas = grid.areas + tf.gather(gt_areas, candidates)[:, None]
        share = grid.intersection_share(tf.gather(gt_boxes, candidates), areas)
        best = tf.reduce_max(share, axis=0)  # -inf without objects
        is_ignored = (best >= negative) | grid.covered(ignored_regions)
        # float32 holds indices exactly, and making a kernel that transposes integers prints an
        # error on some processors.
        level = tf.where(is_ignored, float(IGNORE), float(BACKGROUND))
        found = tf.where(best >= positive)
        # One row more, since argmax refuses to look through no objects at all.
        share_of_found = tf.pad(tf.gather(share, found[:, 0], axis=1), [[0, 1], [0, 0]])
        objects = tf.gather(tf.cast(candidates, tf.float32), tf.argmax(share_of_found, axis=0))
        matches.append(grid.by_cell(tf.tensor_scatter_nd_update(level, found, objects)))
        if force_match:
            shares.append(grid.by_cell(share))
    matches = tf.cast(tf.concat(matches, axis=0), tf.int32)
    return _forced(matches, tf.concat(shares, axis=1), force_match) if force_match else matches


def match_regions(
    gt_boxes: Tensor,
    ignored_regions: Tensor,
    *,
    anchor_generator: AnchorGenerator,
    height: int | Tensor,
    width: int | Tensor,
) -> Tensor:
    """Return the matches [A] int32 of anchors whose objects are chosen elsewhere.

    IGNORE where they lie mostly inside an ignored region, else BACKGROUND. See `match_anchors`.
    """
    grids = anchor_grids(anchor_generator, height, width)
    covered = [tf.cast(grid.covered(ignored_regions), tf.float32) for grid in grids]
    covered = tf.concat([grid.by_cell(level) for grid, level in zip(grids, covered)], axis=0)
    return tf.where(covered > 0, IGNORE, BACKGROUND)


def _how_forced(force_match: bool | str) -> str:
    """Return a choice of `match_anchors` as "best", "own_best" or "" (nothing is forced)."""
    known = {False: "", "none": "", True: "best", "best": "best", "own_best": "own_best"}
    if force_match not in known:
        raise ValueError(f"force_match must be 'none', 'best' or 'own_best', not {force_match!r}")
    return known[force_match]


def _forced(matches: Tensor, share: Tensor, force_match: str) -> Tensor:
    """Return matches [A] with the best anchors of every object, by `share` [M, A], as forced."""
    best = tf.reduce_max(share, axis=1, keepdims=True)
    object_and_anchor = tf.where((share >= best) & (best > 0))
    objects, anchors = object_and_anchor[:, 0], object_and_anchor[:, 1:]
    if force_match == "own_best":
        # One row more, since argmax refuses to look through no objects at all.
        share_of_forced = tf.pad(tf.gather(share, anchors[:, 0], axis=1), [[0, 1], [0, 0]])
        objects = tf.argmax(share_of_forced, axis=0)
    return tf.tensor_scatter_nd_update(matches, anchors, tf.cast(objects, tf.int32))


class Grid:
    """One level's anchors as a grid of equal cells; its tensors run over anchors, rows, columns."""

    def __init__(self, base: Any, x: Tensor, y: Tensor) -> None:
        self.base = base
        self.x = x
        self.y = y
        self.areas = (base[:, 2] - base[:, 0]) * (base[:, 3] - base[:, 1])
        self.size = tf.size(x) * tf.size(y) * len(base)

    def intersection_share(self, boxes: Tensor, areas: Tensor) -> Tensor:
        """Return intersections [M, size] with `boxes` [M, 4] over `areas` [M or 1, A]."""
        width = self._overlap(self.x, self.base[:, 0], self.base[:, 2], boxes[:, 0], boxes[:, 2])
        height = self._overlap(self.y, self.base[:, 1], self.base[:, 3], boxes[:, 1], boxes[:, 3])
        share = (height / areas[:, :, None])[..., None] * width[:, :, None, :]
        return tf.reshape(share, (tf.shape(boxes)[0], self.size))

    def covered(self, regions: Tensor) -> Tensor:
        """Return which anchors [size] lie mostly inside one of `regions` [R, 4]."""
        shares = self.intersection_share(regions, tf.constant(self.areas)[None])
        return tf.reduce_max(shares, axis=0) >= IGNORED_REGION_COVER * _ROUNDING

    def by_cell(self, values: Tensor) -> Tensor:
        """Put values [..., size] into the order of AnchorGenerator: rows, columns, anchors."""
        leading = tf.shape(values)[:-1]
        shape = tf.concat([leading, [len(self.base), tf.size(self.y) * tf.size(self.x)]], axis=0)
        return tf.reshape(tf.linalg.matrix_transpose(tf.reshape(values, shape)), tf.shape(values))

    @staticmethod
    def _overlap(centre: Tensor, low: Any, high: Any, box_low: Tensor, box_high: Tensor) -> Tensor:
        """Return the common length [M, A, cells] of boxes and anchors along one axis."""
        low, high = centre + low[:, None], centre + high[:, None]
        common = tf.minimum(high, box_high[:, None, None]) - tf.maximum(low, box_low[:, None, None])
        return tf.maximum(common, 0.0)


def anchor_grids(generator: AnchorGenerator, height: Any, width: Any) -> list[Grid]:
    def centres(cells: Any, distance: Any) -> Tensor:
        steps = tf.cast(tf.range(cells), tf.float32) + generator.offset
        return steps * tf.cast(distance, tf.float32)

    return [
        Grid(generator.base_anchors(size), x=centres(columns, right), y=centres(rows, down))
        for size, (rows, columns), (down, right) in generator.layout(height, width)
    ]
