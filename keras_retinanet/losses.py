"""The losses: focal loss and smooth L1 per anchor, and DetectionLoss, which puts them together.

Class targets are integers per anchor (a class, BACKGROUND or IGNORE), never one-hot vectors.
Everything is `keras.ops` and runs on any Keras backend.
"""

from typing import Any

import keras
from keras import ops

from keras_retinanet.boxes import BoxCoder
from keras_retinanet.conventions import BACKGROUND, FOCAL_ALPHA, FOCAL_GAMMA, SMOOTH_L1_BETA
from keras_retinanet.replicas import sum_over_replicas

Tensor = Any

NORMALIZERS = ("global", "per_image")


@keras.saving.register_keras_serializable(package="keras_retinanet")
class FocalLoss(keras.losses.Loss):
    """Sigmoid focal loss of class logits against integer targets (eq. 4 and 5).

    `call` takes targets [..., A] (class index, BACKGROUND or IGNORE) and logits [..., A, K], and
    returns each anchor's loss, summed over the K classes, [..., A]. Ignored anchors have loss and
    gradient 0. It is finite, with its gradient, for every finite logit.

    With z = -x for the class of a positive anchor and z = x elsewhere, every term is
    sigmoid(z)^gamma softplus(z): one formula without a dense target. Forward and backward are
    written together, so that at most three temporaries of the size of the logits are alive.

    Args:
        gamma: focusing parameter; 0 gives (alpha-balanced) cross entropy.
        alpha: weight of the positive class, 1 - alpha that of the negative; None weighs both by 1.
    """

    def __init__(
        self,
        gamma: float = FOCAL_GAMMA,
        alpha: float | None = FOCAL_ALPHA,
        reduction: str | None = "sum",
        name: str = "focal_loss",
    ) -> None:
        super().__init__(reduction=reduction, name=name, dtype="float32")
        if gamma < 0:
            raise ValueError(f"gamma must not be negative, got {gamma}")
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be None or between 0 and 1, got {alpha}")
        self.gamma = gamma
        self.alpha = alpha

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets = ops.cast(y_true, "int32")
        positive_weight = 1.0 if self.alpha is None else self.alpha
        negative_weight = 1.0 if self.alpha is None else 1.0 - self.alpha

        # What autodiff would keep for the backward pass (some ten tensors of the logits' size) is
        # most of the memory of a training step, hence the gradient by hand.
        @ops.custom_gradient
        def per_anchor_loss(logits: Tensor) -> tuple[Tensor, Any]:
            is_positive = targets >= 0
            counts = ops.cast(targets >= BACKGROUND, "float32")  # 0 for ignored anchors
            z = ops.where(_is_target_class(targets, logits), -logits, logits)
            p = ops.sigmoid(z)
            softplus = ops.softplus(z)
            losses = softplus if self.gamma == 0 else _power(p, self.gamma) * softplus
            target_loss = ops.where(is_positive, _take_class(losses, targets), 0.0)
            loss = negative_weight * ops.sum(losses, axis=-1)
            # The target class is part of the sum, so that giving it its own weight costs little
            # precision: at alpha = 0.25 at most a few units of rounding.
            loss = loss + (positive_weight - negative_weight) * target_loss

            def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
                upstream = (args[0] if upstream is None else upstream) * counts
                grad = p
                if self.gamma > 0:
                    # dFL/dz = p^gamma (p + gamma (1 - p) softplus(z)): the appendix, rearranged.
                    grad = ((1.0 - p) * softplus * self.gamma + p) * _power(p, self.gamma)
                return grad * ops.where(
                    _is_target_class(targets, logits),
                    (-positive_weight * upstream)[..., None],
                    (negative_weight * upstream)[..., None],
                )

            return loss * counts, gradient

        return per_anchor_loss(ops.cast(y_pred, "float32"))

    def get_config(self) -> dict:
        return {**super().get_config(), "gamma": self.gamma, "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class SmoothL1(keras.losses.Loss):
    """Smooth L1 of box deltas: `call` maps targets and predictions [..., 4] to losses [...].

    The sum over the four coordinates of |d| - beta / 2 where |d| >= beta, else d^2 / (2 beta);
    beta = 0 is L1 (Fast R-CNN, eq. 3, with Detectron's beta).
    """

    def __init__(
        self,
        beta: float = SMOOTH_L1_BETA,
        reduction: str | None = "sum",
        name: str = "smooth_l1",
    ) -> None:
        super().__init__(reduction=reduction, name=name, dtype="float32")
        if beta < 0:
            raise ValueError(f"beta must not be negative, got {beta}")
        self.beta = beta

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        distance = ops.abs(y_pred - y_true)
        if self.beta > 0:
            quadratic = ops.square(distance) * (0.5 / self.beta)
            distance = ops.where(distance < self.beta, quadratic, distance - 0.5 * self.beta)
        return ops.sum(distance, axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "beta": self.beta}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class DetectionLoss:
    """Class loss over all anchors plus box loss over the positive ones (section 4.1, "Focal Loss").

    Args:
        class_loss: integer targets [B, A], logits [B, A, K] -> losses [B, A].
        box_loss: delta targets [B, A, 4], deltas [B, A, 4] -> losses [B, A].
        box_weight: factor of the box loss.
        normalizer: "global" divides by the positive anchors of the batch over all replicas;
            "per_image" divides each image by its own positives and averages over the batch.
    """

    def __init__(
        self,
        class_loss: keras.losses.Loss | None = None,
        box_loss: keras.losses.Loss | None = None,
        box_weight: float = 1.0,
        normalizer: str = "global",
    ) -> None:
        if normalizer not in NORMALIZERS:
            raise ValueError(f"normalizer must be one of {NORMALIZERS}, not {normalizer!r}")
        self.class_loss = FocalLoss() if class_loss is None else class_loss
        self.box_loss = SmoothL1() if box_loss is None else box_loss
        self.box_weight = box_weight
        self.normalizer = normalizer

    def __call__(
        self, targets: dict, outputs: dict, *, anchors: Tensor, box_coder: BoxCoder
    ) -> dict[str, Tensor]:
        """Return this replica's share of the scalar losses, {"class_loss": ..., "box_loss": ...}.

        Shares add up to the loss of the global batch when summed over replicas.

        Args:
            targets: "gt_boxes" [B, M, 4], "gt_labels" [B, M] and "matches" [B, A].
            outputs: "class_logits" [B, A, K] and "box_deltas" [B, A, 4].
            anchors: [A, 4].
            box_coder: how `box_deltas` relate to `anchors`.
        """
        matches = ops.cast(targets["matches"], "int32")
        is_positive = matches >= 0
        class_targets, matched_boxes = _matched(targets, matches)
        # Anchors without an object get themselves as target: finite, and masked below.
        box_targets = ops.where(is_positive[..., None], matched_boxes, anchors)
        delta_targets = box_coder.encode(box_targets, anchors)

        class_losses = self.class_loss.call(class_targets, outputs["class_logits"])
        box_losses = self.box_loss.call(delta_targets, outputs["box_deltas"])
        box_losses = ops.where(is_positive, box_losses, 0.0)

        weights = self._image_weights(is_positive)
        return {
            "class_loss": ops.sum(ops.sum(class_losses, axis=1) * weights),
            "box_loss": self.box_weight * ops.sum(ops.sum(box_losses, axis=1) * weights),
        }

    def _image_weights(self, is_positive: Tensor) -> Tensor:
        """Return each image's factor [B] (or one for all): 1 / the number that normalises it."""
        positives = ops.sum(ops.cast(is_positive, "float32"), axis=1)
        if self.normalizer == "per_image":
            num_images = sum_over_replicas(ops.sum(ops.ones_like(positives)))
            return 1.0 / (ops.maximum(positives, 1.0) * num_images)
        # The global count: Keras sums gradients over replicas, so a local count would double them.
        return 1.0 / ops.maximum(sum_over_replicas(ops.sum(positives)), 1.0)

    def get_config(self) -> dict:
        return {
            "class_loss": keras.saving.serialize_keras_object(self.class_loss),
            "box_loss": keras.saving.serialize_keras_object(self.box_loss),
            "box_weight": self.box_weight,
            "normalizer": self.normalizer,
        }

    @classmethod
    def from_config(cls, config: dict) -> "DetectionLoss":
        config = dict(config)
        for name in ("class_loss", "box_loss"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def _matched(targets: dict, matches: Tensor) -> tuple[Tensor, Tensor]:
    """Return class targets [B, A] and the matched boxes [B, A, 4] (of object 0 where none is)."""
    index = ops.maximum(matches, 0)
    labels = ops.take_along_axis(ops.cast(targets["gt_labels"], "int32"), index, axis=1)
    boxes = ops.take_along_axis(targets["gt_boxes"], index[..., None], axis=1)
    return ops.where(matches >= 0, labels, matches), boxes


def _power(base: Tensor, exponent: float) -> Tensor:
    """base ** exponent, without the slow general case where the exponent is 0, 1 or 2."""
    if exponent == 0:
        return ops.ones_like(base)
    if exponent == 1:
        return base
    return ops.square(base) if exponent == 2 else ops.power(base, exponent)


def _is_target_class(targets: Tensor, logits: Tensor) -> Tensor:
    """Return where logits [..., A, K] belong to their anchor's class: bool, a quarter the size."""
    return targets[..., None] == ops.arange(ops.shape(logits)[-1], dtype="int32")


def _take_class(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the logit of each anchor's class (of class 0 where it has none): [..., A]."""
    index = ops.maximum(targets, 0)[..., None]
    return ops.take_along_axis(logits, index, axis=-1)[..., 0]
