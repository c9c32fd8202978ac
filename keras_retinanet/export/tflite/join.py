"""TFLite files put together: what the first gives goes into the second, or into a custom op."""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import flexbuffers

from keras_retinanet.detection.runtimes.tflite_file import SIGNATURE
from keras_retinanet.errors import WeightsError
from keras_retinanet.system.private_names import read_tflite, tflite_schema

schema = tflite_schema()
_BufferT: Any = schema.BufferT

FILE_IDENTIFIER = b"TFL3"
# What the schema asks for (force_align), and kernels that read weights in place rely on.
BUFFER_ALIGNMENT = 16

DETECTION_OP = "TFLite_Detection_PostProcess"
# The op's outputs are numbered in the order that it is defined with.
_OUTPUT_NAME = "detections_{}"

_VARIABLE_OPS = (
    schema.BuiltinOperator.VAR_HANDLE,
    schema.BuiltinOperator.READ_VARIABLE,
    schema.BuiltinOperator.ASSIGN_VARIABLE,
)

# Buffer 0 is the empty one, which tensors without constant values point at.
_EMPTY_BUFFER = 0


def join(first: bytes, second: bytes) -> bytes:
    """Return one TFLite file that runs `second` on the outputs of `first`.

    The inputs of `second` take the outputs of `first` in order, which both state by the numbers in
    their names ("Identity", "Identity_1", ...; the converter orders them as it likes). The outputs
    are those of `second`, in that same order.
    """
    model, tail = (read_tflite(x) for x in (first, second))
    graph, tail_graph = model.subgraphs[0], tail.subgraphs[0]
    buffer_of = {_EMPTY_BUFFER: _EMPTY_BUFFER}
    for i, buffer in enumerate(tail.buffers[1:], start=1):
        buffer_of[i] = len(model.buffers)
        model.buffers.append(buffer)

    given = _in_order(graph, graph.outputs)
    wanted = _in_order(tail_graph, tail_graph.inputs)
    tensor_of = {-1: -1, **dict(zip(wanted, given, strict=True))}
    for i, tensor in enumerate(tail_graph.tensors):
        if i not in tensor_of:
            tensor_of[i] = len(graph.tensors)
            tensor.buffer = buffer_of[tensor.buffer]
            tensor.name = b"postprocess/" + tensor.name
            graph.tensors.append(tensor)

    first_code = len(model.operatorCodes)
    model.operatorCodes += tail.operatorCodes
    for operator in tail_graph.operators:
        operator.opcodeIndex += first_code
        operator.inputs = [tensor_of[i] for i in operator.inputs]
        operator.outputs = [tensor_of[i] for i in operator.outputs]
        graph.operators.append(operator)

    graph.outputs = [tensor_of[i] for i in _in_order(tail_graph, tail_graph.outputs)]
    return pack(model)


def name_tensors(file: bytes, *, input_name: str, output_names: Sequence[str]) -> bytes:
    """Return the TFLite file with names for its tensors, and a signature of these names."""
    model = read_tflite(file)
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = input_name.encode()
    for i, name in zip(graph.outputs, output_names, strict=True):
        graph.tensors[i].name = name.encode()
    model.signatureDefs = [_signature(graph)]
    return pack(model)


def append_detection_op(
    file: bytes,
    *,
    max_detections: int,
    num_classes: int,
    score_threshold: float,
    iou_threshold: float,
) -> bytes:
    """Return the TFLite file with TFLite_Detection_PostProcess on its three outputs.

    They are, in order, encodings [1, C, 4] of scale 1, class scores [1, C, K], and anchors [C, 4]:
    y, x of the centre, height, width. Outputs: boxes [1, N, 4], classes [1, N], scores [1, N] and
    their number [1], with what was there before in unused places.

    The op's fast variant is used: one NMS for all classes, by each box's best one. Its regular one,
    a NMS for each class, loses the class whose number is that of the threads (seen in LiteRT 2.3:
    the workers' next class starts one too high). Added here, since a converter may inline the
    function that stands for a custom op.
    """
    model = read_tflite(file)
    graph = model.subgraphs[0]
    options = {
        "max_detections": max_detections,
        "max_classes_per_detection": 1,
        "use_regular_nms": False,
        "nms_score_threshold": score_threshold,
        "nms_iou_threshold": iou_threshold,
        "num_classes": num_classes,
        **{f"{side}_scale": 1.0 for side in "yxhw"},
    }
    code = schema.BuiltinOperator.CUSTOM
    model.operatorCodes.append(
        schema.OperatorCodeT(
            deprecatedBuiltinCode=code, builtinCode=code, customCode=DETECTION_OP.encode()
        )
    )
    outputs = []
    for i, shape in enumerate(
        ((1, max_detections, 4), (1, max_detections), (1, max_detections), (1,))
    ):
        outputs.append(len(graph.tensors))
        graph.tensors.append(
            schema.TensorT(
                shape=list(shape),
                type=schema.TensorType.FLOAT32,
                buffer=_EMPTY_BUFFER,
                name=_OUTPUT_NAME.format(i).encode(),
            )
        )
    graph.operators.append(
        schema.OperatorT(
            opcodeIndex=len(model.operatorCodes) - 1,
            inputs=_in_order(graph, graph.outputs),
            outputs=outputs,
            customOptions=list(flexbuffers.Dumps(options)),
        )
    )
    graph.outputs = outputs
    return pack(model)


def refuse_variables(file: bytes) -> None:
    """Raise WeightsError if a TFLite file looks its weights up at run time: it would find none."""
    model = read_tflite(file)
    for code in model.operatorCodes:
        if code.builtinCode in _VARIABLE_OPS:
            raise WeightsError(
                "the TFLite file has variables in place of weights: nothing is published"
            )


def pack(model: Any) -> bytes:
    """Return a model object as a file, its buffers aligned."""
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer(_BufferT):
    """A buffer that packs its data on a boundary of BUFFER_ALIGNMENT, as the generated one does
    not."""

    def Pack(self, builder: Any) -> int:
        data = None
        if self.data is not None and len(self.data):
            values = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(values), BUFFER_ALIGNMENT)
            builder.head = builder.Head() - len(values)
            builder.Bytes[builder.Head() : builder.Head() + len(values)] = values
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        schema.BufferAddOffset(builder, self.offset)
        schema.BufferAddSize(builder, self.size)
        return schema.BufferEnd(builder)


def _signature(graph: Any) -> Any:
    def named(tensors: Sequence[int]) -> list:
        return [schema.TensorMapT(name=graph.tensors[i].name, tensorIndex=int(i)) for i in tensors]

    return schema.SignatureDefT(
        inputs=named(graph.inputs), outputs=named(graph.outputs), signatureKey=SIGNATURE
    )


def _in_order(graph: Any, tensors: Sequence[int]) -> list[int]:
    """Return the indices of inputs or outputs by the number at the end of their names."""

    def number(index: int) -> int:
        # "Identity_3", "maps_3", and "StatefulPartitionedCall:3" where a function is left.
        name = graph.tensors[index].name.decode().split(";")[0]
        digits = name.replace(":", "_").rsplit("_", 1)[-1]
        return int(digits) if digits.isdigit() else 0

    ordered = sorted((int(i) for i in tensors), key=number)
    if [number(i) for i in ordered] != list(range(len(ordered))):
        names = [graph.tensors[i].name.decode() for i in tensors]
        raise ValueError(f"inputs or outputs cannot be told apart by their names: {names}")
    return ordered
