"""The loss of the quality that a model predicts of its boxes: their IoU, or centerness."""

from keras import ops

from keras_retinanet.conventions import Tensor
from keras_retinanet.geometry.boxes import BoxCoder, aligned_iou, centerness


def box_quality_losses(
    kind: str, outputs: dict, matched_boxes: Tensor, anchors: Tensor, box_coder: BoxCoder
) -> Tensor:
    """Return each anchor's binary cross entropy of its "box_quality" [B, A].

    No gradient flows through the target: a box that got worse would make its own easier.

    Args:
        kind: the target: "iou" of the decoded box with the anchor's object (Wu et al. 2019), or the
            "centerness" of the anchor's centre in it (Tian et al. 2019, eq. 3).
        outputs: "box_deltas" [B, A, 4] and "box_quality" [B, A, 1], logits.
        matched_boxes: [B, A, 4], the anchors' objects, or whatever box where there is none.
        anchors: [A, 4].
    """
    if kind == "iou":
        boxes = box_coder.decode(ops.stop_gradient(outputs["box_deltas"]), anchors)
        target = ops.minimum(aligned_iou(boxes, matched_boxes), 1.0)  # rounding can take it beyond
    elif kind == "centerness":
        target = centerness(0.5 * (anchors[:, :2] + anchors[:, 2:]), matched_boxes)
    else:
        raise ValueError(f"box_quality must be 'iou' or 'centerness', not {kind!r}")
    x = ops.cast(outputs["box_quality"][..., 0], "float32")
    return ops.softplus(x) - ops.stop_gradient(target) * x
