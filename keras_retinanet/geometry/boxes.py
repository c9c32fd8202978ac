"""All box maths: formats, area, clipping, pairwise overlap and the coding of boxes against anchors.

Boxes are float32 xyxy in pixels, origin at the top-left corner of the top-left pixel, no "+1".
Everything is `keras.ops`, so it runs on any Keras backend, eagerly and in graphs.
"""

import math
from dataclasses import dataclass

from keras import ops

from keras_retinanet.conventions import MAX_SIZE_RATIO, Tensor

CODINGS = ("centre", "corner")


def xywh_to_xyxy(boxes_xywh: Tensor) -> Tensor:
    """Convert [..., 4] boxes from left, top, width, height (COCO's format)."""
    x, y, width, height = _split(boxes_xywh)
    return ops.stack([x, y, x + width, y + height], axis=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Convert [..., 4] boxes to left, top, width, height (COCO's format)."""
    x1, y1, x2, y2 = _split(boxes)
    return ops.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)


def xyxy_to_yxyx_normalized(boxes: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Convert [..., 4] boxes to ymin, xmin, ymax, xmax as shares of `height` and `width`."""
    x1, y1, x2, y2 = _split(boxes)
    return ops.stack([y1 / height, x1 / width, y2 / height, x2 / width], axis=-1)


def yxyx_normalized_to_xyxy(boxes_yxyx: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Convert [..., 4] normalised ymin, xmin, ymax, xmax back to pixels."""
    y1, x1, y2, x2 = _split(boxes_yxyx)
    return ops.stack([x1 * width, y1 * height, x2 * width, y2 * height], axis=-1)


def box_area(boxes: Tensor) -> Tensor:
    """Return the areas [...] of [..., 4] boxes in square pixels; inverted boxes have area 0."""
    x1, y1, x2, y2 = _split(boxes)
    return ops.maximum(x2 - x1, 0.0) * ops.maximum(y2 - y1, 0.0)


def clip_boxes(boxes: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Move the corners of [..., 4] boxes into an image of the given size."""
    x1, y1, x2, y2 = _split(boxes)

    def inside(value: Tensor, limit: Tensor) -> Tensor:
        return ops.minimum(ops.maximum(value, 0.0), limit)

    return ops.stack(
        [inside(x1, width), inside(y1, height), inside(x2, width), inside(y2, height)], axis=-1
    )


def pairwise_intersection(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Return the common areas [..., N, M] of [..., N, 4] and [..., M, 4] boxes."""
    ax1, ay1, ax2, ay2 = (x[..., :, None] for x in _split(boxes_a))
    bx1, by1, bx2, by2 = (x[..., None, :] for x in _split(boxes_b))
    width = ops.maximum(ops.minimum(ax2, bx2) - ops.maximum(ax1, bx1), 0.0)
    height = ops.maximum(ops.minimum(ay2, by2) - ops.maximum(ay1, by1), 0.0)
    return width * height


def pairwise_iou(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Return intersection over union [..., N, M] of [..., N, 4] and [..., M, 4] boxes.

    Two boxes without area have IoU 0.
    """
    intersection = pairwise_intersection(boxes_a, boxes_b)
    union = box_area(boxes_a)[..., :, None] + box_area(boxes_b)[..., None, :] - intersection
    return _share(intersection, union)


def aligned_iou(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Return the IoU [...] of [..., 4] boxes, one to one; 0 for two boxes without area."""
    intersection, union = _aligned_areas(boxes_a, boxes_b)
    return _share(intersection, union)


def generalized_iou(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Return the GIoU [...] of [..., 4] boxes, one to one: IoU less the empty share of their hull.

    From -1 (far apart) to 1 (equal). Two boxes at one point have GIoU 0.
    """
    intersection, union = _aligned_areas(boxes_a, boxes_b)
    hull_width, hull_height = _hull(boxes_a, boxes_b)
    hull = hull_width * hull_height
    return _share(intersection, union) - _share(hull - union, hull)


def distance_iou(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Return the DIoU [...] of [..., 4] boxes, one to one: IoU less their centres' distance.

    The distance is squared, over the squared diagonal of their hull. From -1 to 1 (equal); two
    boxes at one point have DIoU 0.
    """
    ax, ay, _, _ = _centre_form(boxes_a)
    bx, by, _, _ = _centre_form(boxes_b)
    width, height = _hull(boxes_a, boxes_b)
    distance = ops.square(ax - bx) + ops.square(ay - by)
    diagonal = ops.square(width) + ops.square(height)
    return aligned_iou(boxes_a, boxes_b) - _share(distance, diagonal)


def aspect_difference(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Return how different the shapes of [..., 4] boxes are, one to one: v of CIoU, 0 to 1 [...].

    The squared difference of their diagonals' angles, in right angles; 0 where a box has no size.
    """
    difference = _diagonal_angle(boxes_a) - _diagonal_angle(boxes_b)
    no_size = _has_no_size(boxes_a) | _has_no_size(boxes_b)
    return ops.where(no_size, 0.0, ops.square(difference * (2.0 / math.pi)))


def centerness(points: Tensor, boxes: Tensor) -> Tensor:
    """Return how central points [..., 2] lie in [..., 4] boxes, one to one: 0 to 1 [...].

    The geometric mean of nearer over farther side, across and down (Tian et al. 2019, eq. 3): 1 in
    the middle, 0 at a side and outside.
    """
    near = ops.maximum(ops.minimum(points - boxes[..., :2], boxes[..., 2:] - points), 0.0)
    far = ops.maximum(points - boxes[..., :2], boxes[..., 2:] - points)
    share = _share(near, far)
    return ops.sqrt(share[..., 0] * share[..., 1])


@dataclass(frozen=True)
class BoxCoder:
    """Boxes as 4 numbers relative to their anchors; `decode` undoes `encode`.

    Args:
        coding: "centre" is R-CNN's and the paper's (section 4, "Box Regression Subnet"): offsets of
            the centres over the anchor's size, log ratios of the sizes. "corner" is fizyr's:
            offsets of the two corners over the anchor's size.
        variances: what the four numbers are divided by.
        max_size_ratio: with "centre", sizes are decoded to at most this multiple of the anchor's,
            so that exp cannot overflow (Detectron's clamp); None: to any.
    """

    coding: str = "centre"
    variances: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    max_size_ratio: float | None = MAX_SIZE_RATIO

    def __post_init__(self) -> None:
        if self.coding not in CODINGS:
            raise ValueError(f"coding must be one of {CODINGS}, not {self.coding!r}")
        object.__setattr__(self, "variances", tuple(float(v) for v in self.variances))

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the deltas [..., 4] of `boxes` [..., 4] of positive size relative to `anchors`."""
        if self.coding == "corner":
            _, _, width, height = _centre_form(anchors)
            deltas = (boxes - anchors) / ops.stack([width, height, width, height], axis=-1)
        else:
            x, y, width, height = _centre_form(boxes)
            ax, ay, awidth, aheight = _centre_form(anchors)
            deltas = ops.stack(
                [
                    (x - ax) / awidth,
                    (y - ay) / aheight,
                    ops.log(width / awidth),
                    ops.log(height / aheight),
                ],
                axis=-1,
            )
        return deltas / ops.convert_to_tensor(self.variances, "float32")

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Return the boxes [..., 4] that `deltas` [..., 4] mean relative to `anchors`."""
        deltas = deltas * ops.convert_to_tensor(self.variances, "float32")
        ax, ay, awidth, aheight = _centre_form(anchors)
        if self.coding == "corner":
            return anchors + deltas * ops.stack([awidth, aheight, awidth, aheight], axis=-1)
        dx, dy, dwidth, dheight = _split(deltas)
        if self.max_size_ratio is not None:
            limit = math.log(self.max_size_ratio)
            dwidth, dheight = ops.minimum(dwidth, limit), ops.minimum(dheight, limit)
        x, y = ax + dx * awidth, ay + dy * aheight
        half_width = 0.5 * awidth * ops.exp(dwidth)
        half_height = 0.5 * aheight * ops.exp(dheight)
        return ops.stack(
            [x - half_width, y - half_height, x + half_width, y + half_height], axis=-1
        )


def _aligned_areas(boxes_a: Tensor, boxes_b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the areas [...] of intersection and union of [..., 4] boxes, one to one."""
    ax1, ay1, ax2, ay2 = _split(boxes_a)
    bx1, by1, bx2, by2 = _split(boxes_b)
    width = ops.maximum(ops.minimum(ax2, bx2) - ops.maximum(ax1, bx1), 0.0)
    height = ops.maximum(ops.minimum(ay2, by2) - ops.maximum(ay1, by1), 0.0)
    intersection = width * height
    return intersection, box_area(boxes_a) + box_area(boxes_b) - intersection


def _hull(boxes_a: Tensor, boxes_b: Tensor) -> tuple[Tensor, Tensor]:
    """Return width and height [...] of what encloses [..., 4] boxes, one to one."""
    ax1, ay1, ax2, ay2 = _split(boxes_a)
    bx1, by1, bx2, by2 = _split(boxes_b)
    width = ops.maximum(ax2, bx2) - ops.minimum(ax1, bx1)
    return width, ops.maximum(ay2, by2) - ops.minimum(ay1, by1)


def _has_no_size(boxes: Tensor) -> Tensor:
    _, _, width, height = _centre_form(boxes)
    return (width <= 0) & (height <= 0)


def _diagonal_angle(boxes: Tensor) -> Tensor:
    """Return arctan(width / height) [...] of [..., 4] boxes; its gradient is finite for any box."""
    _, _, width, height = _centre_form(boxes)
    height = ops.where(_has_no_size(boxes), 1.0, height)
    return ops.arctan2(ops.maximum(width, 0.0), ops.maximum(height, 0.0))


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 (value and gradient) where the whole is nothing."""
    return ops.where(whole > 0, part / ops.where(whole > 0, whole, 1.0), 0.0)


def _split(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def _centre_form(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return centre x, centre y, width and height of [..., 4] boxes."""
    x1, y1, x2, y2 = _split(boxes)
    return 0.5 * (x1 + x2), 0.5 * (y1 + y2), x2 - x1, y2 - y1
