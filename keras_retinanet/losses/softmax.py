"""The focal loss of exclusive classes (footnote 1): a softmax over the classes and background."""

from typing import Any

import keras
from keras import ops

from keras_retinanet.conventions import BACKGROUND, FOCAL_ALPHA, FOCAL_GAMMA, Tensor
from keras_retinanet.losses import curves
from keras_retinanet.losses.anchor_loss import AnchorLoss
from keras_retinanet.losses.binary import is_target_class, take_class


@keras.saving.register_keras_serializable(package="keras_retinanet")
class SoftmaxFocalLoss(AnchorLoss):
    """Multi-class focal loss: -alpha_t (1 - p_t)^gamma log(p_t), p = softmax(logits, background).

    `call` takes targets [..., A] (class index, BACKGROUND or IGNORE) and logits [..., A, K], and
    returns each anchor's loss [..., A]; ignored anchors have loss and gradient 0. Background has
    the logit 0: a softmax knows logits only up to a constant, so that K outputs are enough and the
    network is the same as for sigmoids.

    With z = log(sum of exp of the other logits) - (the target's), p_t = sigmoid(-z): the binary
    curve, evaluated once for each anchor.

    Args:
        gamma: focusing parameter; 0 gives (alpha-balanced) softmax cross entropy.
        alpha: weight of anchors on objects, 1 - alpha that of background; None weighs both by 1.
    """

    def __init__(
        self,
        gamma: float = FOCAL_GAMMA,
        alpha: float | None = FOCAL_ALPHA,
        reduction: str | None = "sum",
        name: str = "softmax_focal_loss",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        if gamma < 0:
            raise ValueError(f"gamma must not be negative, got {gamma}")
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be None or between 0 and 1, got {alpha}")
        self.gamma = gamma
        self.alpha = alpha

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets = ops.cast(y_true, "int32")
        is_positive = targets >= 0
        weights = ops.ones_like(targets, dtype="float32")
        if self.alpha is not None:
            weights = ops.where(is_positive, self.alpha, 1.0 - self.alpha)
        weights = ops.where(targets >= BACKGROUND, weights, 0.0)

        @ops.custom_gradient
        def per_anchor_loss(logits: Tensor) -> tuple[Tensor, Any]:
            # The anchor's class leaves the sum, and background takes its place in it.
            others = ops.where(is_target_class(targets, logits), -1e30, logits)
            background = ops.where(is_positive, 0.0, -1e30)
            highest = ops.maximum(ops.max(others, axis=-1), background)
            rest = ops.sum(ops.exp(others - highest[..., None]), axis=-1)
            rest = highest + ops.log(rest + ops.exp(background - highest))
            z = rest - ops.where(is_positive, take_class(logits, targets), 0.0)
            loss = curves.focal(z, gamma=self.gamma)

            def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
                upstream = args[0] if upstream is None else upstream
                upstream = (upstream * weights * curves.focal_slope(z, gamma=self.gamma))[..., None]
                # dz/dx is -1 for the target, and for the others their share of the sum.
                is_target = is_target_class(targets, logits)
                share = ops.exp(ops.where(is_target, 0.0, logits - rest[..., None]))
                return ops.where(is_target, -upstream, upstream * share)

            return loss * weights, gradient

        return per_anchor_loss(ops.cast(y_pred, "float32"))

    def get_config(self) -> dict:
        return {**super().get_config(), "gamma": self.gamma, "alpha": self.alpha}
