"""The scalar functions behind the class losses, with their derivatives.

Every one is a function of z = -x_t, where x_t = y x is the logit counted towards the truth
(appendix): p_t = sigmoid(-z), a certain mistake has a large z, and no formula cancels.
Each returns the value and a function that gives the derivative dL/dz.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

Tensor = Any
ValueAndSlope = tuple[Tensor, Callable[[], Tensor]]


def cross_entropy(z: Tensor) -> ValueAndSlope:
    """-log(p_t) (eq. 1)."""
    return ops.softplus(z), lambda: ops.sigmoid(z)


def focal(z: Tensor, *, gamma: float) -> ValueAndSlope:
    """-(1 - p_t)^gamma log(p_t) (eq. 4)."""
    if gamma == 0:
        return cross_entropy(z)
    p, softplus = ops.sigmoid(z), ops.softplus(z)  # 1 - p_t and -log(p_t)

    def slope() -> Tensor:
        # The appendix' dFL/dx, rearranged: p^gamma (p + gamma (1 - p) softplus(z)).
        return ((1.0 - p) * softplus * gamma + p) * _power(p, gamma)

    return _power(p, gamma) * softplus, slope


def focal_star(z: Tensor, *, gamma: float, beta: float) -> ValueAndSlope:
    """-log(p_t*) / gamma with p_t* = sigmoid(gamma x_t + beta) (appendix, FL*)."""
    shifted = gamma * z - beta
    return ops.softplus(shifted) / gamma, lambda: ops.sigmoid(shifted)


def hinge(z: Tensor, *, threshold: float) -> ValueAndSlope:
    """max(0, threshold - p_t) (section 5.1, "Hinge Loss")."""
    p = ops.sigmoid(z)
    easy = 1.0 - threshold

    def slope() -> Tensor:
        return ops.where(p > easy, p * ops.sigmoid(-z), 0.0)

    return ops.maximum(p - easy, 0.0), slope


def _power(base: Tensor, exponent: float) -> Tensor:
    """base ** exponent, without the slow general case where the exponent is 1 or 2."""
    if exponent == 1:
        return base
    return ops.square(base) if exponent == 2 else ops.power(base, exponent)
