"""The process that `convert` starts: graphs in a folder, and TFLite files beside them.

It has the only calls of `tf.lite`'s converter.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.export.tflite.conversion import (
    ERROR_FILE,
    GRAPH_FILE,
    INPUTS_FILE,
    REQUEST_FILE,
    RESULT_FILE,
)
from keras_retinanet.system.child_process import end_with_parent


def main() -> None:
    end_with_parent()
    place = Path(sys.argv[1])
    requests = json.loads((place / REQUEST_FILE).read_text(encoding="utf-8"))
    try:
        for number, request in enumerate(requests):
            (place / RESULT_FILE.format(number)).write_bytes(_converted(place, number, **request))
    except Exception as error:  # TensorFlow's and MLIR's
        text = str(error).strip() or type(error).__name__
        (place / ERROR_FILE).write_text(json.dumps(text), encoding="utf-8")


def _converted(
    place: Path,
    number: int,
    *,
    inputs: list[str],
    outputs: list[str],
    quantization: str,
    input_type: str,
) -> bytes:
    function = _function(place / GRAPH_FILE.format(number), inputs, outputs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    if quantization != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization == "int8":
        values = np.load(place / INPUTS_FILE.format(number), mmap_mode="r")
        converter.representative_dataset = lambda: _examples(values)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.as_dtype(input_type)
    return converter.convert()


def _function(file: Path, inputs: list[str], outputs: list[str]) -> Any:
    """Return the concrete function of a graph in a file."""
    graph = tf.compat.v1.GraphDef.FromString(file.read_bytes())
    whole = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])

    def tensors(names: list[str]) -> list[Any]:
        return [whole.graph.get_tensor_by_name(name) for name in names]

    return whole.prune(tensors(inputs), tensors(outputs))


def _examples(images: np.ndarray) -> Iterator[list[np.ndarray]]:
    for i, image in enumerate(images):
        values = image[None].astype(np.float32)
        if i == 0:
            # The input's own range is known: bytes then need no scaling.
            values[0, 0, 0], values[0, 0, 1] = 0.0, 255.0
        yield [values]


if __name__ == "__main__":
    main()
