"""Task-aligned matching: an object's anchors are those that predict its class and its box best."""

from typing import Any

import keras
from keras import ops

from keras_retinanet.conventions import (
    BACKGROUND,
    IGNORE,
    TASK_ALIGNED_ALPHA,
    TASK_ALIGNED_BETA,
    TASK_ALIGNED_CANDIDATES,
    Tensor,
)
from keras_retinanet.geometry.boxes import BoxCoder, pairwise_iou
from keras_retinanet.losses.detection import DetectionLoss


@keras.saving.register_keras_serializable(package="keras_retinanet")
class TaskAlignedMatching:
    """Matching by what the network predicts (TOOD, Feng et al. 2021, section 3.2).

    An anchor's alignment with an object is p^alpha IoU^beta: p is its score of the object's class,
    and the IoU that of its decoded box. An object's anchors are the `candidates` best aligned ones
    of those whose centre lies in the object, as far as their boxes overlap it at all. Of several
    objects an anchor takes the one that its box overlaps most. No gradient flows through it.

    Args:
        alpha, beta: exponents of the score and of the IoU.
        candidates: of an object, m in the paper.
        force_match: the anchors nearest to an object's centre count as inside of it, so that small
            objects, between the cells, have candidates, too.
    """

    def __init__(
        self,
        alpha: float = TASK_ALIGNED_ALPHA,
        beta: float = TASK_ALIGNED_BETA,
        candidates: int = TASK_ALIGNED_CANDIDATES,
        force_match: bool = False,
    ) -> None:
        if min(alpha, beta) < 0 or candidates < 1:
            raise ValueError(
                "alpha and beta must not be negative, and candidates at least 1, got "
                f"{alpha}, {beta} and {candidates}"
            )
        self.alpha = alpha
        self.beta = beta
        self.candidates = candidates
        self.force_match = force_match

    def __call__(
        self, targets: dict, outputs: dict, *, anchors: Tensor, box_coder: BoxCoder
    ) -> Tensor:
        """Return the matches int32 [B, A], each image's by itself.

        Args:
            targets, outputs: as `DetectionLoss` takes them. Of the "matches" there, IGNORE alone
                counts: such an anchor is no background, but may be an object's.
        """
        logits = ops.stop_gradient(ops.cast(outputs["class_logits"], "float32"))
        boxes = box_coder.decode(ops.stop_gradient(outputs["box_deltas"]), anchors)
        centres = 0.5 * (anchors[:, :2] + anchors[:, 2:])
        # One image after the other: the tables of objects and anchors are large.
        found = ops.map(
            lambda image: self._of_image(*image, centres=centres),
            (targets["gt_boxes"], ops.cast(targets["gt_labels"], "int32"), logits, boxes),
        )
        without = ops.where(ops.cast(targets["matches"], "int32") == IGNORE, IGNORE, BACKGROUND)
        return ops.where(found >= 0, found, without)

    def _of_image(
        self, gt_boxes: Tensor, gt_labels: Tensor, logits: Tensor, boxes: Tensor, *, centres: Tensor
    ) -> Tensor:
        """Return the objects of an image's anchors [A]; BACKGROUND without one."""
        num_anchors = ops.shape(logits)[0]
        is_object = gt_labels >= 0  # other rows fill up
        scores = ops.take(ops.sigmoid(logits), ops.maximum(gt_labels, 0), axis=1)  # [A, M]
        iou = pairwise_iou(gt_boxes, boxes)  # [M, A]
        is_inside = self._is_inside(gt_boxes, centres) & is_object[:, None]
        alignment = ops.transpose(scores) ** self.alpha * iou**self.beta
        alignment = ops.where(is_inside, alignment, 0.0)
        is_known = isinstance(num_anchors, int)  # images of all sizes share TensorFlow's graph
        most = (min if is_known else ops.minimum)(self.candidates, num_anchors)
        values, best = ops.top_k(alignment, most)
        rows = ops.broadcast_to(ops.arange(ops.shape(best)[0])[:, None], ops.shape(best))
        places = ops.stack([rows, ops.cast(best, rows.dtype)], axis=-1)
        taken = ops.scatter(
            ops.reshape(places, (-1, 2)),
            ops.cast(ops.reshape(values > 0, (-1,)), "int32"),
            (ops.shape(gt_boxes)[0], num_anchors),
        )
        iou_of_taken = ops.where(taken > 0, iou, -1.0)
        winner = ops.cast(ops.argmax(iou_of_taken, axis=0), "int32")
        return ops.where(ops.max(iou_of_taken, axis=0) >= 0, winner, BACKGROUND)

    def _is_inside(self, gt_boxes: Tensor, centres: Tensor) -> Tensor:
        """Return whether each centre [A, 2] lies in each object [M, A]."""
        low, high = gt_boxes[:, None, :2], gt_boxes[:, None, 2:]
        is_inside = ops.all((centres > low) & (centres < high), axis=-1)
        if self.force_match:
            distance = ops.sum(ops.square(centres - 0.5 * (low + high)), axis=-1)
            is_inside |= distance <= ops.min(distance, axis=1, keepdims=True)
        return is_inside

    def get_config(self) -> dict:
        return {
            "alpha": self.alpha,
            "beta": self.beta,
            "candidates": self.candidates,
            "force_match": self.force_match,
        }

    @classmethod
    def from_config(cls, config: dict) -> "TaskAlignedMatching":
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_retinanet")
class TaskAlignedDetectionLoss(DetectionLoss):
    """A `DetectionLoss` whose anchors are matched by the outputs, in place of the targets' matches.

    Args:
        matching: by default with TOOD's settings.
        settings: see `DetectionLoss`.
    """

    def __init__(self, *, matching: TaskAlignedMatching | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.matching = matching or TaskAlignedMatching()

    def __call__(
        self,
        targets: dict,
        outputs: dict,
        *,
        anchors: Tensor,
        box_coder: BoxCoder,
        **options: Any,
    ) -> dict[str, Tensor]:
        matches = self.matching(targets, outputs, anchors=anchors, box_coder=box_coder)
        targets = {**targets, "matches": matches}
        return super().__call__(targets, outputs, anchors=anchors, box_coder=box_coder, **options)

    def get_config(self) -> dict:
        matching = keras.saving.serialize_keras_object(self.matching)
        return {**super().get_config(), "matching": matching}

    @classmethod
    def from_config(cls, config: dict) -> "TaskAlignedDetectionLoss":
        matching = keras.saving.deserialize_keras_object(config["matching"])
        settings = DetectionLoss.from_config({k: v for k, v in config.items() if k != "matching"})
        own = {name: getattr(settings, name) for name in settings.get_config()}
        return cls(matching=matching, **own)
