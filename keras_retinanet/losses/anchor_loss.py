"""The base of the class and box losses: what DetectionLoss has to know of one."""

import keras


class AnchorLoss(keras.losses.Loss):
    """A loss whose `call` returns a value for each anchor, [B, A].

    Attributes:
        needs_boxes: `call` takes decoded boxes, xyxy: a box loss in place of deltas, a class loss
            beside its logits, as {"class_logits", "boxes", "matched_boxes"}: those of the anchors'
            objects, and the anchors themselves where there is none.
        is_normalized: the losses' sum is a mean already, and is not divided by the positives.
    """

    needs_boxes = False
    is_normalized = False

    def __init__(self, *, reduction: str | None, name: str) -> None:
        super().__init__(reduction=reduction, name=name, dtype="float32")
