"""Floating-point operations of a RetinaNet, counted from its convolutions; the device's peak."""

import math
import time
from typing import Any

import numpy as np


def forward_flops(model: Any, height: int, width: int) -> int:
    """Return the operations of a forward pass over one image: 2 for each multiply-add.

    Convolutions alone: all else (BatchNorm, ReLU, upsampling, loss) is under 1 % of them.
    """
    return sum(flops for _, flops in _convolutions(model, height, width))


def training_flops(model: Any, height: int, width: int) -> int:
    """Return the operations of a training step per image: forward, and twice that backward.

    The first convolution's input needs no gradient.
    """
    counts = _convolutions(model, height, width)
    first = next(flops for name, flops in counts if name == "conv1_conv")
    return 3 * sum(flops for _, flops in counts) - first


def _convolutions(model: Any, height: int, width: int) -> list[tuple[str, int]]:
    """Return (layer, operations) of every use of a convolution, the shared heads' on each level."""
    import keras

    counts = []

    def shape_of(operation: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            output = operation.compute_output_spec(*args, **kwargs)
            if isinstance(operation, keras.layers.Conv2D):
                multiply_adds = math.prod(output.shape[1:3]) * math.prod(operation.kernel.shape)
                counts.append((operation.name, 2 * multiply_adds))
            return output

        return call

    # The network's own graph with the sides known, shapes alone: no arithmetic is done.
    model._run_through_graph(keras.KerasTensor((1, height, width, 3)), operation_fn=shape_of)
    return counts


def matmul_peak(precision: str, *, side: int, rounds: int = 7) -> float:
    """Return the best FLOP/s seen in multiplying two square matrices, on Keras' backend."""
    import keras
    from keras import ops

    values = np.random.default_rng(0).normal(size=(side, side)).astype("float32")
    matrix = ops.cast(ops.convert_to_tensor(values), precision)

    class Product(keras.layers.Layer):
        def call(self, a: Any) -> Any:
            return ops.matmul(a, a)

    product = Product(dtype=precision)
    best = math.inf
    for _ in range(rounds):
        start = time.perf_counter()
        result = product(matrix)
        float(ops.convert_to_numpy(ops.cast(result[0, 0], "float32")))  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
