"""Adaptive training sample selection: anchors near an object, by a threshold of its own."""

import tensorflow as tf

from keras_retinanet.conventions import ATSS_CANDIDATES, BACKGROUND, Tensor
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import aligned_iou
from keras_retinanet.geometry.matching import Grid, anchor_grids, match_regions


def match_atss(
    gt_boxes: Tensor,
    ignored_regions: Tensor,
    *,
    anchor_generator: AnchorGenerator,
    height: int | Tensor,
    width: int | Tensor,
    candidates: int = ATSS_CANDIDATES,
    force_match: bool = False,
) -> Tensor:
    """Return the matches [A] int32 of an image's anchors by ATSS (Zhang et al. 2020, algorithm 1).

    An object's candidates are the anchors of the cells nearest to its centre, `candidates` cells on
    each level. Those are its own whose IoU is at least the candidates' mean plus their standard
    deviation, and whose centre lies in the object. Of several objects an anchor takes the one of
    the highest IoU. All others are BACKGROUND, or IGNORE where they lie mostly inside an ignored
    region.

    As in the authors' code, a cell counts once however many anchors it has, and the deviation is
    that of a sample.

    Args:
        gt_boxes: [M, 4] xyxy in pixels of the network's input; M may be 0.
        ignored_regions: [R, 4], likewise.
        height, width: the input's size in pixels, padding included.
        candidates: cells of a level, k in the paper.
        force_match: an object that would have no anchor, since it is smaller than the distance of
            the cells or others overlap its anchors more, gets the free candidates of highest IoU.
    """
    grids = anchor_grids(anchor_generator, height, width)
    anchors, boxes, first = [], [], 0
    for grid in grids:
        cells, level_boxes = _nearest(grid, gt_boxes, candidates)
        num = len(grid.base)
        index = first + cells[:, :, None] * num + tf.range(num)  # in AnchorGenerator's order
        anchors.append(_flat(index, ()))
        boxes.append(_flat(level_boxes, (4,)))
        first += grid.size
    anchors, boxes = tf.concat(anchors, axis=1), tf.concat(boxes, axis=1)
    iou = aligned_iou(boxes, gt_boxes[:, None])
    is_own = (iou >= _threshold(iou)[:, None]) & _centre_is_inside(boxes, gt_boxes[:, None])
    matches = _highest(tf.where(is_own, iou, -1.0), anchors, first)
    if force_match:
        matches = _with_forced(matches, iou, anchors)
    without = match_regions(
        gt_boxes,
        ignored_regions,
        anchor_generator=anchor_generator,
        height=height,
        width=width,
    )
    return tf.where(matches >= 0, matches, without)


def _nearest(grid: Grid, gt_boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the cells [M, k] nearest to each object's centre, and their anchors [M, k, A, 4]."""
    centres = 0.5 * (gt_boxes[:, :2] + gt_boxes[:, 2:])
    across = tf.square(grid.x - centres[:, 0, None])
    down = tf.square(grid.y - centres[:, 1, None])
    columns = tf.size(grid.x)
    distances = _flat(down[:, :, None] + across[:, None, :], ())
    cells = tf.math.top_k(-distances, tf.minimum(count, tf.size(grid.y) * columns)).indices
    x, y = tf.gather(grid.x, cells % columns), tf.gather(grid.y, cells // columns)
    return cells, tf.stack([x, y, x, y], axis=-1)[:, :, None] + grid.base


def _flat(values: Tensor, last: tuple[int, ...]) -> Tensor:
    """Put all dimensions between the first and `last` into one."""
    shape = tf.shape(values)
    inner = tf.reduce_prod(shape[1 : len(values.shape) - len(last)])
    return tf.reshape(values, tf.concat([shape[:1], [inner], last], axis=0))


def _threshold(iou: Tensor) -> Tensor:
    """Return mean plus standard deviation [M] of the candidates' IoUs [M, N]."""
    mean = tf.reduce_mean(iou, axis=1)
    squares = tf.reduce_sum(tf.square(iou - mean[:, None]), axis=1)
    return mean + tf.sqrt(squares / tf.cast(tf.maximum(tf.shape(iou)[1] - 1, 1), tf.float32))


def _centre_is_inside(anchors: Tensor, boxes: Tensor) -> Tensor:
    centres = 0.5 * (anchors[..., :2] + anchors[..., 2:])
    return tf.reduce_all((centres > boxes[..., :2]) & (centres < boxes[..., 2:]), axis=-1)


def _highest(scores: Tensor, anchors: Tensor, num_anchors: Tensor) -> Tensor:
    """Return each anchor's object of the highest score [num_anchors]; BACKGROUND without one.

    Args:
        scores: [M, N] of candidates; negative: not to be taken. Of equal ones the first object's.
        anchors: [M, N], the candidates' places.
    """
    is_candidate = scores >= 0
    objects = tf.where(is_candidate)[:, 0]
    scores = tf.boolean_mask(scores, is_candidate)
    anchors = tf.boolean_mask(anchors, is_candidate)
    best = tf.math.unsorted_segment_max(scores, anchors, num_anchors)
    is_best = scores >= tf.gather(best, anchors)
    winners = tf.cast(tf.boolean_mask(objects, is_best), tf.int32)
    places = tf.boolean_mask(anchors, is_best)
    first = tf.math.unsorted_segment_min(winners, places, num_anchors)
    return tf.where(first < tf.int32.max, first, BACKGROUND)


def _with_forced(matches: Tensor, iou: Tensor, anchors: Tensor) -> Tensor:
    """Return matches [A] with an anchor for the objects that have none and overlap a free one."""
    counts = tf.math.unsorted_segment_sum(tf.ones_like(matches), matches, tf.shape(iou)[0])
    is_free = (tf.gather(matches, anchors) < 0) & (counts == 0)[:, None]
    iou = tf.where(is_free & (iou > 0), iou, -1.0)
    best = tf.reduce_max(iou, axis=1, keepdims=True)
    forced = _highest(tf.where(iou >= best, iou, -1.0), anchors, tf.size(matches))
    return tf.where(forced >= 0, forced, matches)
