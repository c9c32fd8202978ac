import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.optimizers.gradient_sum import LossScaling
from keras_retinanet.optimizers.weight_average import averaged_weights, keep_averaged_weights
from keras_retinanet.optimizers.weight_decay import KernelAdamW, SGDWithL2

pytestmark = pytest.mark.usefixtures("small_resnet18")

OPTIMIZERS = {
    "sgd": lambda **ema: SGDWithL2(0.1, momentum=0.9, **ema),
    "adamw": lambda **ema: KernelAdamW(0.1, **ema),
    "scaled": lambda **ema: LossScaling(SGDWithL2(0.1, momentum=0.9, **ema), initial_scale=4.0),
}
EMA = {"use_ema": True, "ema_momentum": 0.5}


def make_model(optimizer):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="a"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.Dense(1, name="b"),
        ]
    )
    model.compile(optimizer, loss="mse", run_eagerly=not tf.distribute.has_strategy())
    return model


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 3)).astype("float32"), rng.normal(size=(12, 1)).astype("float32")


def fit(model, data, **settings):
    settings = {"epochs": 2, "batch_size": 4, "shuffle": False, "verbose": 0, **settings}
    return model.fit(*data, **settings)


def values(variables):
    return [v.numpy() for v in variables]


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_average_of_a_few_steps():
    """The decays of steps 0, 1, 2, ... are 0, 2/11, 3/12, ... until that of the setting."""
    optimizer = SGDWithL2(1.0, use_ema=True, ema_momentum=0.3)
    variable = keras.Variable([0.0])
    model = keras.Model()
    model.optimizer = optimizer
    average = 0.0
    for step in range(8):
        optimizer.apply([tf.constant([-float(step + 1)])], [variable])
        decay = min(0.3, (1 + step) / (10 + step)) if step else 0.0
        average = decay * average + (1 - decay) * float(variable[0])
        with averaged_weights(model):
            np.testing.assert_allclose(variable.numpy(), [average], rtol=1e-6)
    assert (1 + 1) / (10 + 1) < 0.3 < (1 + 3) / (10 + 3)  # both were tried


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_come_back_bit_for_bit(name, data):
    model = make_model(OPTIMIZERS[name](**EMA))
    fit(model, data)
    weights = values(model.weights)
    with averaged_weights(model):
        inside = values(model.trainable_variables)
    assert_equal(values(model.weights), weights)
    differs = [not np.array_equal(a, v.numpy()) for a, v in zip(inside, model.trainable_variables)]
    assert all(differs)
    keep_averaged_weights(model)
    assert_equal(values(model.trainable_variables), inside)


def test_weights_come_back_after_an_error(data):
    model = make_model(OPTIMIZERS["sgd"](**EMA))
    fit(model, data)
    weights = values(model.weights)
    with pytest.raises(KeyError), averaged_weights(model):
        raise KeyError
    assert_equal(values(model.weights), weights)


def test_batchnorm_statistics_stay(data):
    model = make_model(OPTIMIZERS["sgd"](**EMA))
    fit(model, data)
    statistics = values(model.non_trainable_variables)
    with averaged_weights(model):
        assert_equal(values(model.non_trainable_variables), statistics)


def test_nothing_changes_without_an_average(data):
    untrained, plain = make_model(OPTIMIZERS["sgd"](**EMA)), make_model(OPTIMIZERS["sgd"]())
    untrained.optimizer.build(untrained.trainable_variables)  # its averages are zeros
    fit(plain, data)
    for model in (untrained, plain, keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])):
        weights = values(model.weights)
        with averaged_weights(model):
            assert_equal(values(model.weights), weights)


@pytest.mark.parametrize("name", ["sgd", "scaled"])
def test_fit_twice_is_fit_once(name, data):
    """Keras' own optimizers would go on from the average."""
    whole, halves = make_model(OPTIMIZERS[name](**EMA)), make_model(OPTIMIZERS[name](**EMA))
    fit(whole, data)
    fit(halves, data, epochs=1)
    fit(halves, data, initial_epoch=1)
    assert_equal(values(halves.weights), values(whole.weights))
    assert_equal(values(halves.optimizer.variables), values(whole.optimizer.variables))


@pytest.mark.parametrize("name", [pytest.param("sgd", marks=pytest.mark.slow), "scaled"])
def test_two_replicas(name, data, two_replicas):
    with two_replicas.scope():
        model = make_model(OPTIMIZERS[name](**EMA))
    fit(model, data)
    weights = values(model.weights)
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    averages = values(inner._model_variables_moving_average)
    with averaged_weights(model):
        assert_equal(values(model.trainable_variables), averages)
        for variable in model.trainable_variables:  # on every replica
            copies = two_replicas.experimental_local_results(variable.value)
            assert_equal(values(copies), [variable.numpy()] * 2)
    assert_equal(values(model.weights), weights)
    assert not np.array_equal(model.trainable_variables[0].numpy(), averages[0])
