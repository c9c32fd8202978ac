"""Every private name does what it is used for; and no other module uses one."""

import ast
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_retinanet
from keras_retinanet.system import private_names

PACKAGE = Path(keras_retinanet.__file__).parent
MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path != Path(private_names.__file__).resolve()
)
PRIVATE_MODULES = re.compile(
    r"^(tensorflow\.(python|core|lite|compiler|_api)|keras\.src|tensorboard\.(compat|plugins|"
    r"backend|util)|\w[\w.]*\._\w)"
)
# Where Keras calls what is overridden, or keeps what is set.
KERAS_BASES = (
    keras.Model,
    keras.layers.Layer,
    keras.optimizers.Optimizer,
    keras.optimizers.LossScaleOptimizer,
    keras.callbacks.Callback,
    keras.losses.Loss,
    keras.metrics.Metric,
)


def test_constants_take_the_place_of_variables():
    weight = tf.Variable([2.0, 3.0])
    concrete = tf.function(lambda x: x * weight).get_concrete_function(tf.TensorSpec((2,)))
    constant = private_names.with_constants(concrete)
    assert not [n for n in constant.graph.as_graph_def().node if "VariableOp" in n.op]
    weight.assign([0.0, 0.0])
    (found,) = constant(tf.constant([1.0, 10.0]))
    assert found.numpy().tolist() == [2.0, 30.0]


def test_the_message_in_a_saved_model(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    content = (tmp_path / "saved_model.pb").read_bytes()
    saved = private_names.saved_model_proto().FromString(content)
    assert saved.meta_graphs[0].meta_info_def.tensorflow_version == tf.__version__


def test_a_tflite_file_is_read_and_changed():
    concrete = tf.function(lambda x: 2.0 * x).get_concrete_function(tf.TensorSpec((1, 3)))
    file = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    model = private_names.read_tflite(file)
    schema = private_names.tflite_schema()
    assert isinstance(model, schema.ModelT)
    graph = model.subgraphs[0]
    assert list(graph.tensors[graph.inputs[0]].shape) == [1, 3]
    kinds = {model.operatorCodes[o.opcodeIndex].builtinCode for o in graph.operators}
    assert kinds == {schema.BuiltinOperator.MUL}
    assert all(isinstance(buffer, schema.BufferT) for buffer in model.buffers)
    for name in ("MetadataT", "OperatorCodeT", "OperatorT", "TensorT", "TensorMapT"):
        assert isinstance(schema.__dict__[name](), object)
    for name in ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CUSTOM"):
        assert isinstance(schema.BuiltinOperator.__dict__[name], int)


def test_calls_are_those_of_one_model():
    inputs = keras.Input((8, 8, 3))
    shared = keras.layers.Conv2D(3, 1, name="shared")
    once = shared(inputs)
    twice = shared(once)
    last = keras.layers.Add(name="sum")([twice, once])
    keras.Model(inputs, shared(shared(inputs)))  # another model that calls the layer twice
    calls = private_names.layer_calls(keras.Model(inputs, last))
    first, second = calls["shared"].sources
    assert isinstance(first, keras.layers.InputLayer) and second is shared
    assert calls["shared"].num_uses == 3  # by itself, and twice by the sum
    assert [source.name for source in calls["sum"].sources] == ["shared"]
    assert calls["sum"].num_uses == 1  # the model's output


def test_other_calls_take_the_place_of_layers():
    inputs = keras.Input((2,))
    doubled = keras.layers.Rescaling(2.0, name="double")(inputs)
    outputs = keras.layers.Rescaling(10.0, name="ten")(doubled)
    model = keras.Model(inputs, {"x": outputs})
    calls = {"double": lambda x: x + 2.0}
    result = private_names.call_with(model, np.ones((1, 2), np.float32), calls)
    np.testing.assert_array_equal(result["x"], [[30.0, 30.0]])
    np.testing.assert_array_equal(model(np.ones((1, 2), np.float32))["x"], [[20.0, 20.0]])


def test_fit_does_not_build_what_is_built(monkeypatch):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    built = []
    monkeypatch.setattr(
        type(model), "_maybe_symbolic_build", lambda self, **_: built.append(self), raising=True
    )
    data = np.zeros((2, 2), np.float32), np.zeros((2, 1), np.float32)
    model.fit(*data, verbose=0)
    assert built == [model]
    private_names.skip_symbolic_build(model)
    model.fit(*data, verbose=0)
    assert built == [model]


def test_the_place_of_a_variable():
    variables = [keras.Variable(value) for value in (1.0, 2.0, 3.0)]
    optimizer = keras.optimizers.SGD()
    optimizer.build(variables)
    assert [private_names.variable_index(optimizer, v) for v in variables] == [0, 1, 2]


def test_averages_come_with_their_variables():
    variables = [keras.Variable([1.0, 2.0]), keras.Variable([[3.0]])]
    optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.75)
    optimizer.build(variables)
    optimizer.apply([keras.ops.ones_like(v) for v in variables])
    pairs = private_names.moving_averages(optimizer)
    assert [pair[0] is v for pair, v in zip(pairs, variables, strict=True)] == [True, True]
    # Keras begins at 0, and takes the weights themselves at the first step where it says so.
    for variable, average in pairs:
        assert average.shape == variable.shape
        assert np.isfinite(average).all()
        assert not np.array_equal(average, np.zeros(variable.shape))


class Hooked(
    private_names.SumsNoGradients,
    private_names.DecaysNoWeights,
    private_names.MovesAverages,
    keras.optimizers.SGD,
):
    def move_averages(self, averages):
        for variable, average in averages:
            average.assign(10.0 * variable)


def test_weights_do_not_decay_before_the_step():
    for kind, expected in ((keras.optimizers.SGD, 0.9), (Hooked, 1.0)):
        variable = keras.Variable([[1.0]])
        optimizer = kind(1.0, weight_decay=0.1)
        optimizer.apply([tf.zeros((1, 1))], [variable])
        assert float(variable[0, 0]) == pytest.approx(expected)


def test_averages_move_as_they_are_told():
    variable = keras.Variable(1.0)
    optimizer = Hooked(1.0, use_ema=True)
    optimizer.apply([tf.constant(-2.0)], [variable])
    ((_, average),) = private_names.moving_averages(optimizer)
    assert (float(variable), float(average)) == (3.0, 30.0)


@pytest.mark.parametrize(("kind", "expected"), [(keras.optimizers.SGD, -2.0), (Hooked, -1.0)])
def test_gradients_are_not_summed_again(two_replicas, kind, expected):
    with two_replicas.scope():
        variable = keras.Variable(0.0)
        optimizer = kind(1.0)
        optimizer.build([variable])

    @tf.function
    def step():
        two_replicas.run(lambda: optimizer.apply([tf.constant(1.0)], [variable]))

    step()
    assert float(keras.ops.convert_to_numpy(variable)) == expected


def test_tensorflow_is_imported_only_where_it_is_asked_for():
    """With another backend there may be none; tests/test_jax_backend.py runs without it."""
    statements = ast.parse(Path(private_names.__file__).read_text(encoding="utf-8")).body
    imported = [a.name for s in statements if isinstance(s, ast.Import) for a in s.names]
    imported += [s.module for s in statements if isinstance(s, ast.ImportFrom)]
    assert set(imported) == {"collections.abc", "dataclasses", "keras", "typing"}


def own_names(trees):
    """Return the private names that the package itself defines or sets."""
    names = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)  # a dataclass' field
            elif isinstance(node, ast.Assign):
                names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
    return names


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_uses(tree, own):
    """Yield what a module uses of others' private names."""
    of_keras = {name for base in KERAS_BASES for name in dir(base) if is_private(name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if PRIVATE_MODULES.match(a.name))
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(
            "keras_retinanet"
        ):
            names = [f"{node.module}.{a.name}" for a in node.names]
            yield from (name for name in names if PRIVATE_MODULES.match(name))
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            is_mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if node.attr not in own or (not is_mine and node.attr in of_keras):
                yield ast.unparse(node)
        elif isinstance(node, ast.FunctionDef) and node.name in of_keras:
            yield f"def {node.name}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield ast.unparse(node)


# `os._exit` is documented: the way out of a process without its handlers.
ALLOWED = {"os._exit"}


def test_no_other_module_uses_private_names():
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
    assert len(trees) > 100
    own = own_names(trees.values())
    found = {
        f"{path.relative_to(PACKAGE)}: {use}"
        for path, tree in trees.items()
        for use in private_uses(tree, own)
        if use not in ALLOWED
    }
    assert not found, "move these into system/private_names.py: " + "; ".join(sorted(found))


@pytest.mark.parametrize(
    "code",
    [
        "from tensorflow.python.framework import ops",
        "from tensorflow.core.protobuf import saved_model_pb2",
        "import tensorflow.lite.python.schema_py_generated as schema",
        "from keras.src import backend",
        "from tensorboard.compat.proto import event_pb2",
        "from keras._tf_keras import keras",
        "model._nodes_by_depth",
        "self._inherited_from_keras",
        "getattr(model, '_nodes')",
        "class A(keras.Model):\n def _maybe_symbolic_build(self): ...",
        "optimizer._apply_weight_decay(x)",
    ],
)
def test_the_search_finds(code):
    assert list(private_uses(ast.parse(code), own={"_apply_weight_decay", "_mine"}))


def test_the_search_passes_over_our_own():
    code = "self._mine = other._mine\nimport keras\nfrom tensorflow import keras\nx.__class__"
    assert not list(private_uses(ast.parse(code), own={"_mine"}))
