"""Optimizers: SGD with the paper's weight decay, which Keras' own `weight_decay` is not; AdamW."""

from typing import Any

import keras

from keras_retinanet.gradient_sum import SummedGradients
from keras_retinanet.weight_average import WeightAverage


@keras.saving.register_keras_serializable(package="keras_retinanet")
class SGDWithL2(SummedGradients, WeightAverage, keras.optimizers.SGD):
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
        if self.l2 and len(variable.shape) > 1:
            gradient = gradient + keras.ops.cast(self.l2, gradient.dtype) * keras.ops.cast(
                variable, gradient.dtype
            )
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict:
        return {**super().get_config(), "l2": self.l2}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class AdamW(SummedGradients, WeightAverage, keras.optimizers.AdamW):
    """Keras' AdamW, whose gradients are summed over replicas before they are clipped."""
