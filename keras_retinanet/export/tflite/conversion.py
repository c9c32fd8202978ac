"""TensorFlow's graphs to TFLite, by the one converter that there is, in a process of its own.

Each call of the converter of TensorFlow 2.20 and 2.21 keeps some 22 MB for good, which a process
gives back when it ends (tensorflow/tensorflow#122598). `tf.lite` is to leave TensorFlow: what
takes its place has to be put into `conversion_worker` alone.
"""

import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.export.converters import one_line_errors
from keras_retinanet.system.child_process import how_it_ended, module_command, started

logger = logging.getLogger(__name__)

WORKER = "keras_retinanet.export.tflite.conversion_worker"
# Of one conversion, by its number; and what the process leaves behind.
GRAPH_FILE, INPUTS_FILE, RESULT_FILE = "{}.pb", "{}.npy", "{}.tflite"
REQUEST_FILE, ERROR_FILE, LOG_FILE = "request.json", "error.json", "log.txt"


@dataclass(frozen=True)
class Conversion:
    """What is to be converted, and how.

    Attributes:
        function: a concrete function that takes nothing but its arguments, and no variables.
        quantization: "float32", "float16", "dynamic" or "int8", as in `network_conversion`.
        input_type: of an "int8" network's input, "float32" or "uint8".
        inputs: images uint8 [H, W, 3], whose maps set the ranges of "int8".
    """

    function: Any
    quantization: str = "float32"
    input_type: str = "float32"
    inputs: Sequence[np.ndarray] = field(default=(), repr=False)


def convert(conversions: Sequence[Conversion], folder: Path | None = None) -> list[bytes]:
    """Return the TFLite files of all conversions, which one process makes.

    Inputs and outputs keep their order and the names of the functions'.

    Args:
        folder: where files on the way lie, and are removed; by default that of the system.

    Raises:
        WeightsError: the converter fails, or its process is killed.
    """
    with (
        one_line_errors("the TFLite converter"),
        tempfile.TemporaryDirectory(prefix=".tflite-", dir=folder) as name,
    ):
        place = Path(name)
        requests = [_write(place, i, each) for i, each in enumerate(conversions)]
        (place / REQUEST_FILE).write_text(json.dumps(requests), encoding="utf-8")
        _run(place)
        return [(place / RESULT_FILE.format(i)).read_bytes() for i in range(len(conversions))]


def _write(place: Path, number: int, conversion: Conversion) -> dict[str, Any]:
    function = conversion.function
    if function.captured_inputs:
        raise ValueError(f"a function with values from outside it: {function.captured_inputs}")
    graph = function.graph.as_graph_def()
    (place / GRAPH_FILE.format(number)).write_bytes(graph.SerializeToString())
    if len(conversion.inputs):
        np.save(place / INPUTS_FILE.format(number), np.stack(conversion.inputs))
    return {
        "inputs": [tensor.name for tensor in function.inputs],
        "outputs": [tensor.name for tensor in function.outputs],
        "quantization": conversion.quantization,
        "input_type": conversion.input_type,
    }


def _run(place: Path) -> None:
    command, environment = module_command(WORKER)
    environment["CUDA_VISIBLE_DEVICES"] = "-1"  # nothing to compute, and this process has them
    log = place / LOG_FILE
    with started([*command, str(place)], environment, log) as process:
        code = process.wait()
    if printed := log.read_text(encoding="utf-8", errors="replace").strip():
        logger.debug("the TFLite converter printed:\n%s", printed)
    if (place / ERROR_FILE).exists():
        raise RuntimeError(json.loads((place / ERROR_FILE).read_text(encoding="utf-8")))
    if code:
        raise RuntimeError(how_it_ended(code))
