"""Class losses whose target is how well the anchor's box fits: quality focal and varifocal loss."""

from typing import Any

import keras
from keras import ops

from keras_retinanet.conventions import (
    BACKGROUND,
    QUALITY_BETA,
    VARIFOCAL_ALPHA,
    VARIFOCAL_GAMMA,
    Tensor,
)
from keras_retinanet.geometry.boxes import aligned_iou
from keras_retinanet.losses import curves
from keras_retinanet.losses.anchor_loss import AnchorLoss
from keras_retinanet.losses.binary import is_target_class, take_class

# A logit whose loss, and its slope, are 0 as background: it takes the anchor's class out of a sum.
_NO_LOSS = -1e30


class QualityLoss(AnchorLoss):
    """A loss of every class by itself, with the box's IoU as the target of the anchor's class.

    `call` takes targets [B, A] (class index, BACKGROUND or IGNORE) and {"class_logits": [B, A, K],
    "boxes": [B, A, 4], "matched_boxes": [B, A, 4]}, xyxy, and returns each anchor's loss, summed
    over the K classes, [B, A]. Ignored anchors have loss and gradient 0. No gradient reaches the
    boxes: a box that got worse would make its own target easier.

    As in `BinaryLoss` the backward pass is written by hand and starts from the logits again.
    """

    needs_boxes = True

    def background(self, x: Tensor) -> Tensor:
        """Return the loss of logits whose target is 0."""
        raise NotImplementedError

    def background_slope(self, x: Tensor) -> Tensor:
        """Return the derivative of `background`."""
        raise NotImplementedError

    def matched(self, x: Tensor, quality: Tensor) -> Tensor:
        """Return the loss of logits [B, A] of the anchors' classes against their quality."""
        raise NotImplementedError

    def matched_slope(self, x: Tensor, quality: Tensor) -> Tensor:
        """Return the derivative of `matched` by x."""
        raise NotImplementedError

    def call(self, y_true: Tensor, y_pred: dict[str, Tensor]) -> Tensor:
        targets = ops.cast(y_true, "int32")
        overlap = aligned_iou(y_pred["boxes"], y_pred["matched_boxes"])
        quality = ops.stop_gradient(ops.minimum(overlap, 1.0))  # rounding can take it beyond

        @ops.custom_gradient
        def per_anchor_loss(logits: Tensor) -> tuple[Tensor, Any]:
            is_positive = targets >= 0
            counts = ops.cast(targets >= BACKGROUND, "float32")  # 0 for ignored anchors
            others = ops.where(is_target_class(targets, logits), _NO_LOSS, logits)
            own = take_class(logits, targets)
            own_loss = ops.where(is_positive, self.matched(own, quality), 0.0)

            def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
                upstream = (args[0] if upstream is None else upstream) * counts
                return ops.where(
                    is_target_class(targets, logits),
                    (upstream * self.matched_slope(own, quality))[..., None],
                    self.background_slope(others) * upstream[..., None],
                )

            return (ops.sum(self.background(others), axis=-1) + own_loss) * counts, gradient

        return per_anchor_loss(ops.cast(y_pred["class_logits"], "float32"))


@keras.saving.register_keras_serializable(package="keras_retinanet")
class QualityFocalLoss(QualityLoss):
    """-|q - p|^beta ((1 - q) log(1 - p) + q log p), q the quality (Li et al. 2020, eq. 5).

    Args:
        beta: focusing parameter; 0 gives cross entropy against the quality. Between 0 and 1 the
            slope is not finite where p meets q.
    """

    def __init__(
        self,
        beta: float = QUALITY_BETA,
        reduction: str | None = "sum",
        name: str = "quality_focal_loss",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        if beta != 0 and beta < 1:
            raise ValueError(f"beta must be 0, or at least 1, got {beta}")
        self.beta = beta

    def background(self, x: Tensor) -> Tensor:
        return curves.focal(x, gamma=self.beta)

    def background_slope(self, x: Tensor) -> Tensor:
        return curves.focal_slope(x, gamma=self.beta)

    def matched(self, x: Tensor, quality: Tensor) -> Tensor:
        distance = ops.abs(_above(x, quality))
        return _soft_cross_entropy(x, quality) * _power(distance, self.beta)

    def matched_slope(self, x: Tensor, quality: Tensor) -> Tensor:
        above = _above(x, quality)
        slope = above * _power(ops.abs(above), self.beta)
        if self.beta > 0:
            steeper = self.beta * ops.sign(above) * _power(ops.abs(above), self.beta - 1)
            p_slope = ops.sigmoid(x) * ops.sigmoid(-x)
            slope = slope + steeper * p_slope * _soft_cross_entropy(x, quality)
        return slope

    def get_config(self) -> dict:
        return {**super().get_config(), "beta": self.beta}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class VarifocalLoss(QualityLoss):
    """-q (q log p + (1 - q) log(1 - p)), and -alpha p^gamma log(1 - p) where the quality q is 0.

    It focuses on good boxes in place of hard ones (Zhang et al. 2021, eq. 2).

    Args:
        alpha: weight of what has no quality.
        gamma: its focusing parameter.
    """

    def __init__(
        self,
        alpha: float = VARIFOCAL_ALPHA,
        gamma: float = VARIFOCAL_GAMMA,
        reduction: str | None = "sum",
        name: str = "varifocal_loss",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        if alpha < 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        if gamma < 0:
            raise ValueError(f"gamma must not be negative, got {gamma}")
        self.alpha = alpha
        self.gamma = gamma

    def background(self, x: Tensor) -> Tensor:
        return curves.focal(x, gamma=self.gamma) * self.alpha

    def background_slope(self, x: Tensor) -> Tensor:
        return curves.focal_slope(x, gamma=self.gamma) * self.alpha

    def matched(self, x: Tensor, quality: Tensor) -> Tensor:
        loss = quality * _soft_cross_entropy(x, quality)
        return ops.where(quality > 0, loss, self.background(x))

    def matched_slope(self, x: Tensor, quality: Tensor) -> Tensor:
        slope = quality * _above(x, quality)
        return ops.where(quality > 0, slope, self.background_slope(x))

    def get_config(self) -> dict:
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}


def _soft_cross_entropy(x: Tensor, quality: Tensor) -> Tensor:
    return quality * ops.softplus(-x) + (1.0 - quality) * ops.softplus(x)


def _above(x: Tensor, quality: Tensor) -> Tensor:
    """sigmoid(x) - quality, exact where both are near 1."""
    return (1.0 - quality) * ops.sigmoid(x) - quality * ops.sigmoid(-x)


def _power(base: Tensor, exponent: float) -> Tensor:
    """base ** exponent, with 0 ** 0 = 1 on every backend."""
    return ops.ones_like(base) if exponent == 0 else ops.power(base, exponent)
