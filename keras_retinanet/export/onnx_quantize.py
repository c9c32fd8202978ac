"""The network of an ONNX file in int8, by onnxruntime's static quantisation (QDQ)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.system.distribution import DISTRIBUTION
from keras_retinanet.system.silence import silence

# Left out are the concatenations: in 8 bits, all levels' logits would share one scale.
_QUANTIZED_OPS = ("Conv", "Add", "Relu", "Clip", "MaxPool")


def import_quantization() -> Any:
    """Return onnxruntime.quantization, or raise the UserError that says how to install it."""
    try:
        with silence("onnxruntime"):
            from onnxruntime import quantization
    except ImportError as error:
        raise UserError(
            f"int8 for ONNX needs more packages: pip install '{DISTRIBUTION}[onnx]'"
        ) from error
    return quantization


def quantize(graph: Any, inputs: Sequence[np.ndarray], file: Path) -> None:
    """Write an ONNX model whose convolutions, and what lies between them, have 8 bits.

    Weights have a scale for each channel, maps one; both are signed. What follows on the last
    convolutions, the making of scores and boxes, stays as it is.

    Args:
        graph: the model.
        inputs: of the network, each [1, H, W, 3]; their maps' ranges are taken.
    """
    quantization = import_quantization()
    inside = _up_to_convolutions(graph.graph)
    values = iter([{graph.graph.input[0].name: value} for value in inputs])

    base: Any = quantization.CalibrationDataReader

    class Reader(base):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(values, None)

    quantization.quantize_static(
        graph,
        str(file),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(_QUANTIZED_OPS),
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        nodes_to_exclude=[node.name for node in graph.graph.node if node.name not in inside],
    )


def _up_to_convolutions(graph: Any) -> set[str]:
    """Return the names of the convolutions and of all nodes that these are computed from."""
    maker = {output: node for node in graph.node for output in node.output}
    found: set[str] = set()
    waiting = [node.output[0] for node in graph.node if node.op_type == "Conv"]
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting.extend(node.input)
    return found
