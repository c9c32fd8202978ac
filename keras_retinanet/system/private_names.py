"""All private names of Keras and TensorFlow that are used, so that an upgrade breaks one module.

Each with the version it was seen in; tests/system/test_private_names.py tries every one. Nothing
is imported before it is asked for: modules that use this one stay free of TensorFlow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras


def with_constants(function: Any) -> Any:
    """Return a concrete function with its variables as constants, and as small as that allows.

    TensorFlow 2.21; public is only the way for TensorFlow 1's sessions.
    """
    from tensorflow.python.framework import convert_to_constants

    return convert_to_constants.convert_variables_to_constants_v2(function)


def saved_model_proto() -> type[Any]:
    """Return the class of the message in a saved_model.pb.

    TensorFlow 2.21; public are GraphDef and MetaGraphDef, which are parts of it.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel


def tflite_schema() -> Any:
    """Return the module of the classes that a TFLite file is made of (BufferT, OperatorT, ...).

    TensorFlow 2.21; no public name changes a file after its conversion.
    """
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated


def read_tflite(file: bytes) -> Any:
    """Return a TFLite file as an object of `tflite_schema().ModelT`. TensorFlow 2.21."""
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils.convert_bytearray_to_object(bytearray(file))


def beam_argument_parser(kinds: Sequence[type[Any]]) -> Any:
    """Return Beam's parser of the options that these kinds of its PipelineOptions have.

    Beam 2.77; public is only to parse them all, which takes what it does not know for granted.
    """
    from apache_beam.options.pipeline_options import _BeamArgumentParser

    parser = _BeamArgumentParser(exit_on_error=False, allow_abbrev=False)
    for kind in kinds:
        if "_add_argparse_args" in vars(kind):
            kind._add_argparse_args(parser)
    return parser


@dataclass(frozen=True)
class LayerCalls:
    """A layer's calls within a model.

    Attributes:
        sources: the operation that gives each call its first input.
        num_uses: how often calls, and the model's outputs, take what this layer gives.
    """

    sources: Sequence[Any]
    num_uses: int


def layer_calls(model: keras.Model) -> dict[str, LayerCalls]:
    """Return the calls within a functional model by layer; other models may call the same layers.

    Keras 3.15; public is only a copy of the model (`clone_model`) or its description.
    """
    nodes = {id(node) for depth in model._nodes_by_depth.values() for node in depth}
    last = [output._keras_history.operation for output in model.outputs]
    found = {}
    for layer in model.layers:
        calls = [node for node in layer._inbound_nodes if id(node) in nodes and node.input_tensors]
        found[layer.name] = LayerCalls(
            sources=[node.input_tensors[0]._keras_history.operation for node in calls],
            num_uses=sum(id(node) in nodes for node in layer._outbound_nodes)
            + sum(layer is operation for operation in last),
        )
    return found


def call_with(model: keras.Model, inputs: Any, calls: Mapping[str, Callable]) -> Any:
    """Call a functional model, with other calls in place of those of some layers, by their names.

    Within the model's own call: layers know from there whether they train. Keras 3.15; public is
    only a copy of the model, whose layers then have two calls each.
    """
    return model._run_through_graph(
        model._standardize_inputs(inputs), operation_fn=lambda layer: calls.get(layer.name, layer)
    )


def skip_symbolic_build(model: keras.Model) -> None:
    """Keep `fit` from building a model that is built, from a batch reduced over all workers.

    Keras 3.15, which cannot reduce one under MultiWorkerMirroredStrategy.
    """
    model._maybe_symbolic_build = lambda **_: None


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Return the place in an optimizer of a variable, or of one replica's copy. Keras 3.15."""
    return optimizer._get_variable_index(variable)


def moving_averages(optimizer: keras.optimizers.Optimizer) -> list[tuple[Any, Any]]:
    """Return the trainable variables of an optimizer with `use_ema`, each with its average.

    Keras 3.15; public is only to put the averages in the variables' place for good.
    """
    return list(zip(optimizer._trainable_variables, optimizer._model_variables_moving_average))


class SumsNoGradients(keras.optimizers.Optimizer):
    """For optimizers that get gradients summed over the replicas: Keras 3.15 sums none again."""

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars


class DecaysNoWeights(keras.optimizers.Optimizer):
    """For optimizers whose `update_step` decays the weights: Keras 3.15 does not before it."""

    def _apply_weight_decay(self, variables: Any) -> None:
        pass


class MovesAverages(keras.optimizers.Optimizer):
    """For optimizers with averages (`use_ema`) that move in a way of their own. Keras 3.15."""

    def move_averages(self, averages: Sequence[tuple[Any, Any]]) -> None:
        """Move the averages of some variables, both given in pairs, after an update."""
        raise NotImplementedError

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        self.move_averages(list(zip(trainable_variables, self._model_variables_moving_average)))
