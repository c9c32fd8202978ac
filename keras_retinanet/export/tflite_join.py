"""Two TFLite files made one: what the first gives goes into the second."""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

FILE_IDENTIFIER = b"TFL3"
# What the schema asks for (force_align), and kernels that read weights in place rely on.
BUFFER_ALIGNMENT = 16
SIGNATURE = "serving_default"

# Buffer 0 is the empty one, which tensors without constant values point at.
_EMPTY_BUFFER = 0


def join(first: bytes, second: bytes, *, input_name: str, output_names: Sequence[str]) -> bytes:
    """Return one TFLite file that runs `second` on the outputs of `first`.

    The inputs of `second` take the outputs of `first` in order, which both state by the numbers in
    their names ("Identity", "Identity_1", ...; the converter orders them as it likes). The joined
    file's outputs are those of `second` in that same order, under `output_names`; a signature maps
    all names to tensors.
    """
    model, tail = (
        flatbuffer_utils.convert_bytearray_to_object(bytearray(x)) for x in (first, second)
    )
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
    graph.tensors[graph.inputs[0]].name = input_name.encode()
    for i, name in zip(graph.outputs, output_names, strict=True):
        graph.tensors[i].name = name.encode()
    model.signatureDefs = [_signature(graph)]
    return pack(model)


def pack(model: Any) -> bytes:
    """Return a model object as a file, its buffers aligned."""
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):
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
