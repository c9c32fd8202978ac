"""Online hard example mining, the paper's rivals of the focal loss (section 5.1, table 1d)."""

from typing import Any

import keras
from keras import ops

from keras_retinanet.conventions import BACKGROUND, OHEM_BATCH_SIZE, OHEM_NMS_IOU, Tensor
from keras_retinanet.geometry.boxes import pairwise_iou
from keras_retinanet.losses.anchor_loss import AnchorLoss
from keras_retinanet.losses.binary import BalancedCrossEntropy
from keras_retinanet.system.replicas import gather_from_replicas, sum_over_replicas

NEVER = -1.0  # below every loss: what is not to be picked


@keras.saving.register_keras_serializable(package="keras_retinanet")
class OHEM(AnchorLoss):
    """Cross entropy of the hardest examples of the batch; all others are dropped.

    Every anchor is scored by its loss; non-maximum suppression over the anchors' decoded boxes,
    image by image, drops the near-copies of a harder one; the `batch_size` hardest that are left,
    over all images and replicas, are the minibatch, and their mean is the loss.

    `call` takes targets [B, A] (class index, BACKGROUND or IGNORE) and {"class_logits": [B, A, K],
    "boxes": [B, A, 4]}, xyxy, and returns [B, A]: each mined anchor's loss over the number of mined
    anchors, 0 elsewhere. Reduced by "sum" that is the minibatch's mean.

    Args:
        batch_size: number of examples in the minibatch: 128, 256 or 512 in the paper.
        nms_iou_threshold: boxes that overlap a harder one by more are dropped: 0.5 or 0.7.
    """

    needs_boxes = True
    is_normalized = True

    def __init__(
        self,
        batch_size: int = OHEM_BATCH_SIZE,
        nms_iou_threshold: float = OHEM_NMS_IOU,
        reduction: str | None = "sum",
        name: str = "ohem",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 <= nms_iou_threshold <= 1:
            raise ValueError(f"nms_iou_threshold must be between 0 and 1, got {nms_iou_threshold}")
        self.batch_size = batch_size
        self.nms_iou_threshold = nms_iou_threshold
        self._cross_entropy = BalancedCrossEntropy()

    def call(self, y_true: Tensor, y_pred: dict[str, Tensor]) -> Tensor:
        targets = ops.cast(y_true, "int32")
        losses = self._cross_entropy.call(targets, y_pred["class_logits"])
        scores, boxes = ops.stop_gradient(losses), ops.stop_gradient(y_pred["boxes"])
        is_mined = ops.cast(self._mine(scores, targets, boxes), "float32")
        count = sum_over_replicas(ops.sum(is_mined))
        return losses * is_mined / ops.maximum(count, 1.0)

    def _mine(self, scores: Tensor, targets: Tensor, boxes: Tensor) -> Tensor:
        """Return which anchors [B, A] are in the minibatch."""
        survivors = self._survivors(scores, targets >= BACKGROUND, boxes, self.batch_size)
        return _hardest(scores, survivors, self.batch_size)

    def _survivors(self, scores: Tensor, candidates: Tensor, boxes: Tensor, count: int) -> Tensor:
        return hardest_after_nms(
            ops.where(candidates, scores, NEVER),
            boxes,
            count=count,
            iou_threshold=self.nms_iou_threshold,
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "batch_size": self.batch_size,
            "nms_iou_threshold": self.nms_iou_threshold,
        }


@keras.saving.register_keras_serializable(package="keras_retinanet")
class OHEM1To3(OHEM):
    """OHEM with three negatives to each positive, as SSD mines (table 1d, "OHEM 1:3").

    Non-maximum suppression runs among the positives and among the negatives, so that no object
    vanishes behind a harder piece of background. Of the positives at most `batch_size` / 4 are
    taken, the hardest, and three times as many negatives; a batch without objects has loss 0.
    """

    def __init__(
        self,
        batch_size: int = OHEM_BATCH_SIZE,
        nms_iou_threshold: float = OHEM_NMS_IOU,
        reduction: str | None = "sum",
        name: str = "ohem_1_3",
    ) -> None:
        super().__init__(batch_size, nms_iou_threshold, reduction=reduction, name=name)

    def _mine(self, scores: Tensor, targets: Tensor, boxes: Tensor) -> Tensor:
        quota = max(1, self.batch_size // 4)
        positives = self._survivors(scores, targets >= 0, boxes, quota)
        positives = _hardest(scores, positives, quota)
        num_positives = sum_over_replicas(ops.sum(ops.cast(positives, "int32")))
        negatives = self._survivors(scores, targets == BACKGROUND, boxes, 3 * quota)
        return positives | _hardest(scores, negatives, 3 * num_positives, at_most=3 * quota)


def hardest_after_nms(scores: Tensor, boxes: Tensor, *, count: int, iou_threshold: float) -> Tensor:
    """Return which anchors [B, A] greedy non-maximum suppression picks first, `count` at most.

    Boxes [B, A, 4] suppress each other within their image; the picks are those of highest score
    over all images. Anchors with a negative score are never picked.

    The loop ends with the last pick that counts: full suppression of 10^5 boxes would cost more
    than the rest of the training step.
    """
    num_images, num_anchors = ops.shape(scores)[:2]
    anchors = ops.arange(num_anchors, dtype="int32")

    def goes_on(picked: Tensor, left: Tensor, best: Tensor, step: Tensor) -> Tensor:
        return ops.logical_and(step < count, ops.max(best) >= 0)

    def pick(picked: Tensor, left: Tensor, best: Tensor, step: Tensor) -> tuple[Tensor, ...]:
        image = ops.argmax(best)
        row = ops.take(left, image, axis=0)
        anchor = ops.cast(ops.argmax(row), "int32")
        image_boxes = ops.take(boxes, image, axis=0)
        box = ops.take(image_boxes, anchor, axis=0)
        overlap = pairwise_iou(box[None], image_boxes)[0]
        row = ops.where((overlap > iou_threshold) | (anchors == anchor), NEVER, row)
        is_image = ops.cast(ops.arange(num_images), image.dtype) == image
        picked = picked | (is_image[:, None] & (anchors == anchor)[None])
        left = ops.where(is_image[:, None], row[None], left)
        best = ops.where(is_image, ops.max(row), best)
        return picked, left, best, step + 1

    start = (ops.zeros_like(scores, dtype="bool"), scores, ops.max(scores, axis=1), 0)
    return ops.while_loop(goes_on, pick, start)[0]


def _hardest(scores: Tensor, survivors: Tensor, count: Any, at_most: int | None = None) -> Tensor:
    """Return which of the survivors [B, A] are the `count` hardest over all replicas.

    Args:
        at_most: the highest that `count` can be, where it is a tensor.
    """
    size = count if at_most is None else at_most
    scores = ops.where(survivors, scores, NEVER)
    flat = ops.reshape(scores, (-1,))
    flat = ops.concatenate([flat, ops.full((size,), NEVER)])  # at least `size` to choose from
    hardest = ops.top_k(gather_from_replicas(ops.top_k(flat, size)[0]), size)[0]
    # An index of -1 where none is wanted would take the last, and the softest.
    limit = ops.take(hardest, ops.maximum(count, 1) - 1)
    return survivors & (scores >= limit) & (ops.convert_to_tensor(count) > 0)
