"""The last convolution of a subnet, whose outputs are float32 whatever the precision."""

from typing import Any

import keras
from keras import layers, ops

from keras_retinanet.conventions import Tensor


@keras.saving.register_keras_serializable(package="keras_retinanet", name="PredictionConv2D")
class PredictionConv2D(layers.Conv2D):
    """A convolution that adds its bias in float32, and returns float32.

    With "mixed_bfloat16" the products are computed as in all other convolutions: in float32 they
    would take more than a third of the network's time on a CPU with AMX. Rounding their sums costs
    as much as rounding the weights does; rounding them with the bias would cost more, since the
    prior's bias (section 3.3) is far from 0.
    """

    def build(self, input_shape: Any) -> None:
        self.use_bias = False
        super().build(input_shape)
        self.use_bias = True
        self.bias = self.add_weight(
            name="bias",
            shape=(self.filters,),
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
            dtype="float32",
            autocast=False,
        )

    def call(self, inputs: Tensor) -> Tensor:
        if self.compute_dtype == "float32":
            return super().call(inputs)  # with its bias in one pass
        outputs = self.convolution_op(inputs, self.kernel)
        return ops.cast(outputs, "float32") + ops.convert_to_tensor(self.bias)

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), "float32")


# Keras' files number layers by the names of their classes: these are convolutions among others, as
# they were in files of version 0.1.0.
PredictionConv2D.__name__ = "Conv2D"
