"""DetectionLoss: puts a class loss and a box loss together, and divides them by the positives."""

import keras
from keras import ops

from keras_retinanet.conventions import NORMALIZER_MOMENTUM, NORMALIZER_START, Tensor
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.losses.anchor_loss import AnchorLoss
from keras_retinanet.losses.binary import FocalLoss
from keras_retinanet.losses.box import SmoothL1
from keras_retinanet.losses.box_quality import box_quality_losses
from keras_retinanet.system.replicas import sum_over_replicas

NORMALIZERS = ("global", "per_image", "moving_average")


@keras.saving.register_keras_serializable(package="keras_retinanet")
class DetectionLoss:
    """Class loss over all anchors plus box loss over the positive ones (section 4.1, "Focal Loss").

    Args:
        class_loss: integer targets [B, A], logits [B, A, K] -> losses [B, A].
        box_loss: delta targets [B, A, 4], deltas [B, A, 4] -> losses [B, A]. Both may be any Keras
            losses of this kind; those that need boxes, or no normaliser, derive from `AnchorLoss`.
        box_weight: factor of the box loss.
        box_quality_weight: of the loss of a model's "box_quality", if it predicts it.
        normalizer: "global" divides by the positive anchors of the batch over all replicas;
            "per_image" divides each image by its own positives and averages over the batch;
            "moving_average" divides by a moving average of the batches' positives (Detectron2).
        momentum, start: of the moving average.
    """

    def __init__(
        self,
        class_loss: keras.losses.Loss | None = None,
        box_loss: keras.losses.Loss | None = None,
        box_weight: float = 1.0,
        normalizer: str = "global",
        momentum: float = NORMALIZER_MOMENTUM,
        start: float = NORMALIZER_START,
        box_quality_weight: float = 1.0,
    ) -> None:
        if normalizer not in NORMALIZERS:
            raise ValueError(f"normalizer must be one of {NORMALIZERS}, not {normalizer!r}")
        self.class_loss = FocalLoss() if class_loss is None else class_loss
        self.box_loss = SmoothL1() if box_loss is None else box_loss
        for name, loss in (("class_loss", self.class_loss), ("box_loss", self.box_loss)):
            if not isinstance(loss, keras.losses.Loss):
                raise ValueError(f"{name} must be a keras.losses.Loss, got {type(loss).__name__}")
        self.box_weight, self.box_quality_weight = box_weight, box_quality_weight
        self.normalizer = normalizer
        self.momentum = momentum
        self.start = start
        self._average = None
        if normalizer == "moving_average":
            self._average = MovingAverage(momentum, start)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What has to be threaded through a training step, as Keras does with a model's metrics."""
        return [self._average] if self._average else []

    def __call__(
        self,
        targets: dict,
        outputs: dict,
        *,
        anchors: Tensor,
        box_coder: BoxCoder,
        training: bool = True,
        image_weights: Tensor | None = None,
        box_quality: str | None = None,
    ) -> dict[str, Tensor]:
        """Return this replica's share of the scalar losses, {"class_loss": ..., "box_loss": ...}.

        Shares add up to the loss of the global batch when summed over replicas.

        Args:
            targets: "gt_boxes" [B, M, 4], "gt_labels" [B, M] and "matches" [B, A].
            outputs: "class_logits" [B, A, K] and "box_deltas" [B, A, 4].
            anchors: [A, 4].
            box_coder: how `box_deltas` relate to `anchors`.
            training: whether a moving average moves.
            image_weights: of these images, if they are a part of the batch that
                `self.image_weights` was asked about; the parts' losses add up to the batch's.
            box_quality: what the model's "box_quality" is to tell; adds "box_quality_loss".
        """
        matches = ops.cast(targets["matches"], "int32")
        is_positive = matches >= 0
        class_targets, matched_boxes = _matched(targets, matches)
        # Anchors without an object get themselves as target: finite, and masked below.
        box_targets = ops.where(is_positive[..., None], matched_boxes, anchors)
        deltas = outputs["box_deltas"]
        class_outputs = outputs["class_logits"]
        if isinstance(self.class_loss, AnchorLoss) and self.class_loss.needs_boxes:
            boxes = {"boxes": box_coder.decode(ops.stop_gradient(deltas), anchors)}
            class_outputs = {"class_logits": class_outputs, "matched_boxes": box_targets, **boxes}
        class_losses = self.class_loss.call(class_targets, class_outputs)
        if isinstance(self.box_loss, AnchorLoss) and self.box_loss.needs_boxes:
            box_losses = self.box_loss.call(box_targets, box_coder.decode(deltas, anchors))
        else:
            box_losses = self.box_loss.call(box_coder.encode(box_targets, anchors), deltas)
        box_losses = ops.where(is_positive, box_losses, 0.0)

        if (weights := image_weights) is None:
            weights = self.image_weights(matches, training=training)
        is_mean = isinstance(self.class_loss, AnchorLoss) and self.class_loss.is_normalized
        losses = {
            "class_loss": ops.sum(ops.sum(class_losses, axis=1) * (1.0 if is_mean else weights)),
            "box_loss": self.box_weight * ops.sum(ops.sum(box_losses, axis=1) * weights),
        }
        if box_quality is not None:
            each = box_quality_losses(box_quality, outputs, box_targets, anchors, box_coder)
            each = ops.sum(ops.where(is_positive, each, 0.0), axis=1)
            losses["box_quality_loss"] = self.box_quality_weight * ops.sum(each * weights)
        return losses

    def image_weights(self, matches: Tensor, *, training: bool = True) -> Tensor:
        """Return each image's factor [B], 1 / its normaliser, from matches [B, A]."""
        positives = ops.sum(ops.cast(matches >= 0, "float32"), axis=1)
        if self.normalizer == "per_image":
            num_images = sum_over_replicas(ops.sum(ops.ones_like(positives)))
            return 1.0 / (ops.maximum(positives, 1.0) * num_images)
        # The global count: Keras sums gradients over replicas, so a local count would double them.
        count = sum_over_replicas(ops.sum(positives))
        if self._average is not None:
            if training:
                self._average.update_state(count)
            count = self._average.result()
        return ops.broadcast_to(1.0 / ops.maximum(count, 1.0), ops.shape(positives))

    def get_config(self) -> dict:
        return {
            "class_loss": keras.saving.serialize_keras_object(self.class_loss),
            "box_loss": keras.saving.serialize_keras_object(self.box_loss),
            "box_weight": self.box_weight,
            "normalizer": self.normalizer,
            "momentum": self.momentum,
            "start": self.start,
            "box_quality_weight": self.box_quality_weight,
        }

    @classmethod
    def from_config(cls, config: dict) -> "DetectionLoss":
        config = dict(config)
        for name in ("class_loss", "box_loss"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


class MovingAverage(keras.metrics.Metric):
    """A moving average that outlives the epoch, of a value that all replicas share."""

    def __init__(self, momentum: float, start: float, name: str = "average_positives") -> None:
        super().__init__(name=name, dtype="float32")
        self.momentum = momentum
        self.average = self.add_variable(
            (), keras.initializers.Constant(start), aggregation="mean", name="average"
        )

    def update_state(self, value: Tensor) -> None:
        self.average.assign(self.momentum * self.average + (1.0 - self.momentum) * value)

    def result(self) -> Tensor:
        return ops.convert_to_tensor(self.average)

    def reset_state(self) -> None:
        """Keep the average: Keras resets metrics before every epoch."""


def _matched(targets: dict, matches: Tensor) -> tuple[Tensor, Tensor]:
    """Return class targets [B, A] and the matched boxes [B, A, 4] (of object 0 where none is)."""
    index = ops.maximum(matches, 0)
    labels = ops.take_along_axis(ops.cast(targets["gt_labels"], "int32"), index, axis=1)
    boxes = ops.take_along_axis(targets["gt_boxes"], index[..., None], axis=1)
    return ops.where(matches >= 0, labels, matches), boxes
