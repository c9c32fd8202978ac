"""Class losses of independent sigmoids: cross entropy, focal loss, FL* and the hinge on p_t."""

from typing import Any

import keras
from keras import ops

from keras_retinanet.conventions import (
    BACKGROUND,
    FOCAL_ALPHA,
    FOCAL_GAMMA,
    FOCAL_STAR_BETA,
    FOCAL_STAR_GAMMA,
    HINGE_THRESHOLD,
    Tensor,
)
from keras_retinanet.losses import curves
from keras_retinanet.losses.anchor_loss import AnchorLoss


class BinaryLoss(AnchorLoss):
    """A loss of every class by itself, of logits against integer targets; for subclassing.

    `call` takes targets [..., A] (class index, BACKGROUND or IGNORE) and logits [..., A, K], and
    returns each anchor's loss, summed over the K classes, [..., A]. Ignored anchors have loss and
    gradient 0. It is finite, with its gradient, for every finite logit.

    With z = -x for the class of a positive anchor and z = x elsewhere, every term is `curve(z)`:
    one formula without a dense target. The backward pass is written by hand and starts from the
    logits again, so that forward and backward hold three tensors of their size at a time.

    Args:
        alpha: weight of the positive class, 1 - alpha that of the negatives (eq. 3); None weighs
            both by 1.
    """

    def __init__(self, *, alpha: float | None, reduction: str | None, name: str) -> None:
        super().__init__(reduction=reduction, name=name)
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be None or between 0 and 1, got {alpha}")
        self.alpha = alpha

    def curve(self, z: Tensor) -> Tensor:
        """Return the loss of each z, unweighted."""
        raise NotImplementedError

    def slope(self, z: Tensor) -> Tensor:
        """Return the derivative of `curve` at each z."""
        raise NotImplementedError

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets = ops.cast(y_true, "int32")
        positive_weight = 1.0 if self.alpha is None else self.alpha
        negative_weight = 1.0 if self.alpha is None else 1.0 - self.alpha

        # What autodiff would keep for the backward pass (some ten tensors of the logits' size) is
        # most of the memory of a training step (benchmarks/loss_memory.py).
        @ops.custom_gradient
        def per_anchor_loss(logits: Tensor) -> tuple[Tensor, Any]:
            is_positive = targets >= 0
            counts = ops.cast(targets >= BACKGROUND, "float32")  # 0 for ignored anchors
            losses = self.curve(_towards_error(targets, logits))
            target_loss = ops.where(is_positive, take_class(losses, targets), 0.0)
            loss = negative_weight * ops.sum(losses, axis=-1)
            # The target class is part of the sum, so that giving it its own weight costs little
            # precision: at alpha = 0.25 at most a few units of rounding.
            loss = loss + (positive_weight - negative_weight) * target_loss

            def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
                upstream = (args[0] if upstream is None else upstream) * counts
                slope = self.slope(_towards_error(targets, logits))
                return ops.where(
                    is_target_class(targets, logits),
                    slope * (-positive_weight * upstream)[..., None],
                    slope * (negative_weight * upstream)[..., None],
                )

            return loss * counts, gradient

        return per_anchor_loss(ops.cast(y_pred, "float32"))

    def get_config(self) -> dict:
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class BalancedCrossEntropy(BinaryLoss):
    """Cross entropy (eq. 1), alpha-balanced where an alpha is given (eq. 3)."""

    def __init__(
        self,
        alpha: float | None = None,
        reduction: str | None = "sum",
        name: str = "balanced_cross_entropy",
    ) -> None:
        super().__init__(alpha=alpha, reduction=reduction, name=name)

    def curve(self, z: Tensor) -> Tensor:
        return curves.cross_entropy(z)

    def slope(self, z: Tensor) -> Tensor:
        return curves.cross_entropy_slope(z)


@keras.saving.register_keras_serializable(package="keras_retinanet")
class FocalLoss(BinaryLoss):
    """The focal loss (eq. 4), alpha-balanced unless alpha is None (eq. 5).

    Args:
        gamma: focusing parameter; 0 gives (alpha-balanced) cross entropy.
    """

    def __init__(
        self,
        gamma: float = FOCAL_GAMMA,
        alpha: float | None = FOCAL_ALPHA,
        reduction: str | None = "sum",
        name: str = "focal_loss",
    ) -> None:
        super().__init__(alpha=alpha, reduction=reduction, name=name)
        if gamma < 0:
            raise ValueError(f"gamma must not be negative, got {gamma}")
        self.gamma = gamma

    def curve(self, z: Tensor) -> Tensor:
        return curves.focal(z, gamma=self.gamma)

    def slope(self, z: Tensor) -> Tensor:
        return curves.focal_slope(z, gamma=self.gamma)

    def get_config(self) -> dict:
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class FocalLossStar(BinaryLoss):
    """FL*, the alternate form of the appendix: -log(sigmoid(gamma x_t + beta)) / gamma.

    Args:
        gamma: steepness of the loss curve; positive.
        beta: its shift. (2, 1) and (4, 0) are the appendix' settings.
    """

    def __init__(
        self,
        gamma: float = FOCAL_STAR_GAMMA,
        beta: float = FOCAL_STAR_BETA,
        alpha: float | None = FOCAL_ALPHA,
        reduction: str | None = "sum",
        name: str = "focal_loss_star",
    ) -> None:
        super().__init__(alpha=alpha, reduction=reduction, name=name)
        if gamma <= 0:
            raise ValueError(f"gamma must be positive, got {gamma}")
        self.gamma = gamma
        self.beta = beta

    def curve(self, z: Tensor) -> Tensor:
        return curves.focal_star(z, gamma=self.gamma, beta=self.beta)

    def slope(self, z: Tensor) -> Tensor:
        return curves.focal_star_slope(z, gamma=self.gamma, beta=self.beta)

    def get_config(self) -> dict:
        return {**super().get_config(), "gamma": self.gamma, "beta": self.beta}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class HingeLoss(BinaryLoss):
    """Hinge on p_t: max(0, threshold - p_t). The paper found it unstable (section 5.1).

    Args:
        threshold: the p_t from which on an example costs nothing; the paper does not give its own.
    """

    def __init__(
        self,
        threshold: float = HINGE_THRESHOLD,
        alpha: float | None = None,
        reduction: str | None = "sum",
        name: str = "hinge_loss",
    ) -> None:
        super().__init__(alpha=alpha, reduction=reduction, name=name)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be above 0 and at most 1, got {threshold}")
        self.threshold = threshold

    def curve(self, z: Tensor) -> Tensor:
        return curves.hinge(z, threshold=self.threshold)

    def slope(self, z: Tensor) -> Tensor:
        return curves.hinge_slope(z, threshold=self.threshold)

    def get_config(self) -> dict:
        return {**super().get_config(), "threshold": self.threshold}


def _towards_error(targets: Tensor, logits: Tensor) -> Tensor:
    """Return z = -x_t, the logits [..., A, K] counted away from the truth."""
    return ops.where(is_target_class(targets, logits), -logits, logits)


def is_target_class(targets: Tensor, logits: Tensor) -> Tensor:
    """Return where logits [..., A, K] belong to their anchor's class: bool, a quarter the size."""
    return targets[..., None] == ops.arange(ops.shape(logits)[-1], dtype="int32")


def take_class(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the logit of each anchor's class (of class 0 where it has none): [..., A]."""
    index = ops.maximum(targets, 0)[..., None]
    return ops.take_along_axis(logits, index, axis=-1)[..., 0]
