"""Optimizers under replicas: gradients are summed first, then checked, unscaled and clipped.

Keras sums them last: on two replicas its `global_clipnorm` bounds each replica's gradient, and not
the sum; and its loss scaling skips an update where the first replica's gradient overflows, but not
where another's does.
"""

from typing import Any

import keras

from keras_retinanet.system.private_names import SumsNoGradients
from keras_retinanet.system.replicas import sum_over_replicas


class SummedGradients(SumsNoGradients):
    """To be mixed into a Keras optimizer: makes of its gradients the global batch's, then applies.

    With one replica, and on backends other than TensorFlow, nothing changes.
    """

    sums_gradients = True  # False: they come summed

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if self.sums_gradients:
            grads = sum_over_replicas(list(grads))
        super().apply(grads, trainable_variables)


@keras.saving.register_keras_serializable(package="keras_retinanet")
class LossScaling(keras.optimizers.LossScaleOptimizer):
    """Dynamic loss scaling for float16, whose check for overflows sees all replicas' gradients.

    Args:
        inner_optimizer: one with `SummedGradients`.
    """

    def __init__(self, inner_optimizer: Any, **options: Any) -> None:
        if not isinstance(inner_optimizer, SummedGradients):
            raise TypeError(
                f"expected an optimizer that sums gradients first (SGDWithL2, for one), got "
                f"{type(inner_optimizer).__name__}"
            )
        super().__init__(inner_optimizer, **options)
        inner_optimizer.sums_gradients = False

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        super().apply(sum_over_replicas(list(grads)), trainable_variables)
