"""Optimizers: SGD with the paper's weight decay, AdamW that decays kernels alone."""

from typing import Any

import keras
from keras import ops

from keras_retinanet.optimizers.gradient_sum import SummedGradients
from keras_retinanet.optimizers.layer_rates import LayerRates
from keras_retinanet.optimizers.weight_average import WeightAverage
from keras_retinanet.system.private_names import DecaysNoWeights


@keras.saving.register_keras_serializable(package="keras_retinanet")
class SGDWithL2(SummedGradients, LayerRates, WeightAverage, keras.optimizers.SGD):
    """SGD whose gradients include those of an L2 penalty, l2 / 2 times the squared kernels.

    That is the weight decay of the paper (section 4.1, "Optimization"), of Caffe and PyTorch. The
    argument `weight_decay` of Keras' SGD is decoupled and decays far more slowly with momentum:
    after 200 steps without gradient at momentum 0.9 a weight is at 0.82 instead of 0.12.
    Only kernels decay (variables of two or more dimensions): neither biases nor normalisation.
    """

    def __init__(self, learning_rate: Any = 0.01, *, l2: float = 0.0, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.l2 = l2

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.l2 and _is_kernel(variable):
            gradient = gradient + ops.cast(self.l2, gradient.dtype) * ops.cast(
                variable, gradient.dtype
            )
        super().update_step(gradient, variable, self.rate_of(variable, learning_rate))

    def get_config(self) -> dict:
        return {**super().get_config(), "l2": self.l2}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class KernelAdamW(
    SummedGradients, LayerRates, WeightAverage, DecaysNoWeights, keras.optimizers.AdamW
):
    """AdamW that decays kernels only: neither biases nor normalisation.

    Keras' way to that, `exclude_from_weight_decay`, is not part of what is saved: an optimizer from
    a checkpoint would decay everything. A layer's rate scales its decay, too, as with PyTorch's
    parameter groups.
    """

    def __init__(
        self, learning_rate: Any = 0.001, *, weight_decay: float = 0.004, **options: Any
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **options)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = self.rate_of(variable, learning_rate)
        if self.weight_decay and _is_kernel(variable):
            share = ops.cast(rate * self.weight_decay, variable.dtype)
            self.assign_sub(variable, ops.convert_to_tensor(variable) * share)
        super().update_step(gradient, variable, rate)


def _is_kernel(variable: Any) -> bool:
    return len(variable.shape) > 1
