"""The scalar functions behind the class losses, and their derivatives.

Every one is a function of z = -x_t, where x_t = y x is the logit counted towards the truth
(appendix): p_t = sigmoid(-z), a bad mistake has a large z, and no formula cancels. The derivatives
are dL/dz.

They are applied to tensors of the size of the class logits: each holds as few of them at once as it
can, and products are chained so that they can be written in place.
"""

from keras import ops

from keras_retinanet.conventions import Tensor


def cross_entropy(z: Tensor) -> Tensor:
    """-log(p_t) (eq. 1)."""
    return ops.softplus(z)


def cross_entropy_slope(z: Tensor) -> Tensor:
    return ops.sigmoid(z)


def focal(z: Tensor, *, gamma: float) -> Tensor:
    """-(1 - p_t)^gamma log(p_t) (eq. 4)."""
    if gamma == 0:
        return cross_entropy(z)
    return _times_power(ops.softplus(z), ops.sigmoid(z), gamma)


def focal_slope(z: Tensor, *, gamma: float) -> Tensor:
    """The appendix' dFL/dx, rearranged: p^gamma (p + gamma (1 - p) softplus(z)), p = 1 - p_t."""
    if gamma == 0:
        return cross_entropy_slope(z)
    p = ops.sigmoid(z)
    return _times_power(ops.softplus(z) * gamma * (1.0 - p) + p, p, gamma)


def focal_star(z: Tensor, *, gamma: float, beta: float) -> Tensor:
    """-log(p_t*) / gamma with p_t* = sigmoid(gamma x_t + beta) (appendix, FL*)."""
    return ops.softplus(gamma * z - beta) / gamma


def focal_star_slope(z: Tensor, *, gamma: float, beta: float) -> Tensor:
    return ops.sigmoid(gamma * z - beta)


def hinge(z: Tensor, *, threshold: float) -> Tensor:
    """max(0, threshold - p_t) (section 5.1, "Hinge Loss")."""
    return ops.maximum(ops.sigmoid(z) - (1.0 - threshold), 0.0)


def hinge_slope(z: Tensor, *, threshold: float) -> Tensor:
    p = ops.sigmoid(z)
    return ops.where(p > 1.0 - threshold, p * ops.sigmoid(-z), 0.0)


def _times_power(x: Tensor, base: Tensor, exponent: float) -> Tensor:
    """x * base ** exponent, without the slow general case where the exponent is 1 or 2."""
    if exponent == 1:
        return x * base
    return x * base * base if exponent == 2 else x * ops.power(base, exponent)
