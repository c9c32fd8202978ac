"""What other projects make of their networks' outputs, one box after the other, in NumPy."""

import numpy as np

RATIOS = (0.5, 1.0, 2.0)
SCALES = (1.0, 2.0 ** (1 / 3), 2.0 ** (2 / 3))


def anchors_of(grids, *, order, offset):
    """Return each level's anchors [n, 4]; `order` is what varies slowest, "ratio" or "scale"."""
    shapes = [(r, s) for r in RATIOS for s in SCALES]
    if order == "scale":
        shapes = [(r, s) for s in SCALES for r in RATIOS]
    levels = []
    for level, (rows, columns) in enumerate(grids, 3):
        stride, side = 2**level, 4 * 2**level
        boxes = []
        for row in range(rows):
            for column in range(columns):
                x, y = (column + offset) * stride, (row + offset) * stride
                for ratio, scale in shapes:
                    width, height = side * scale / ratio**0.5, side * scale * ratio**0.5
                    boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        levels.append(np.array(boxes))
    return levels


def centre_decoded(deltas, anchors):
    """Return boxes of centre offsets and log sizes, these up to log(1000 / 16)."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + size / 2 + deltas[:, :2] * size
    half = size * np.exp(np.minimum(deltas[:, 2:], np.log(1000 / 16))) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def corner_decoded(deltas, anchors):
    """Return boxes of offsets of both corners, in fifths of the anchor's size."""
    size = np.tile(anchors[:, 2:] - anchors[:, :2], 2)
    return anchors + 0.2 * deltas * size


def detections_of(
    logits, deltas, anchors, size, *, decoded, clip, drop_empty, max_detections, top_k=1000
):
    """Return boxes, scores and labels of one image's outputs [A, K] and [A, 4].

    Args:
        anchors: a list of the levels' anchors.
        size: height and width to cut to: `clip` is "before_nms", "after_nms" or "none".
        top_k: so many pairs of anchor and class a level; None: all.
    """
    boxes, scores, labels = [], [], []
    start = 0
    for level in anchors:
        rows = slice(start, start + len(level))
        start += len(level)
        score = 1 / (1 + np.exp(-logits[rows].astype(np.float64)))
        index, label = np.nonzero(score > 0.05)
        best = np.argsort(-score[index, label], kind="stable")[:top_k]
        index, label = index[best], label[best]
        boxes.append(decoded(deltas[rows][index].astype(np.float64), level[index]))
        scores.append(score[index, label])
        labels.append(label)
    assert start == len(logits)
    boxes, scores, labels = (np.concatenate(parts) for parts in (boxes, scores, labels))
    if clip == "before_nms":
        boxes = _clipped(boxes, size)
        if drop_empty:
            keep = _areas(boxes) > 0
            boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    keep = _kept(boxes, scores, labels, max_detections)
    boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    if clip == "after_nms":
        boxes = _clipped(boxes, size)
        keep = _areas(boxes) > 0 if drop_empty else slice(None)
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    return {"boxes": boxes, "scores": scores, "labels": labels}


def _clipped(boxes, size):
    height, width = size
    return np.clip(boxes, 0, (width, height, width, height))


def _areas(boxes):
    return np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)


def _kept(boxes, scores, labels, most):
    """Return what is left of non-maximum suppression by class, the best first."""
    kept = []
    alive = np.ones(len(boxes), bool)
    for i in np.argsort(-scores, kind="stable"):
        if not alive[i]:
            continue
        if len(kept) == most:
            break
        kept.append(i)
        corner, other = (
            np.maximum(boxes[i, :2], boxes[:, :2]),
            np.minimum(boxes[i, 2:], boxes[:, 2:]),
        )
        common = np.prod(np.maximum(other - corner, 0), axis=-1)
        union = _areas(boxes[i]) + _areas(boxes) - common
        alive &= ~((labels == labels[i]) & (common > 0.5 * union))
    return np.array(kept, int)
