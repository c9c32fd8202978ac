import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.optimizers.gradient_sum import LossScaling
from keras_retinanet.optimizers.weight_decay import KernelAdamW, SGDWithL2

pytestmark = pytest.mark.usefixtures("small_resnet18")

L2 = 0.05


def train(optimizer, regularizer=None):
    """Train a small network for some steps; its weights by name."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, kernel_regularizer=regularizer, name="conv"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(2, kernel_regularizer=regularizer, name="dense"),
        ],
        name="net",
    )
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:  # biases start at 0, where decay would not show
        variable.assign(rng.normal(0.5, 0.3, variable.shape))
    x = rng.normal(size=(16, 8, 8, 3)).astype("float32")
    y = rng.normal(size=(16, 2)).astype("float32")
    model.compile(optimizer, loss="mse", run_eagerly=True)
    for _ in range(6):
        model.train_on_batch(x, y)
    return {v.path: v.numpy() for v in model.trainable_variables}


@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    ids=["plain", "momentum", "nesterov"],
)
def test_equals_an_l2_penalty_in_the_loss(options):
    ours = train(SGDWithL2(0.01, l2=L2, **options))
    theirs = train(keras.optimizers.SGD(0.01, **options), keras.regularizers.L2(L2 / 2))
    without = train(keras.optimizers.SGD(0.01, **options))
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        np.testing.assert_allclose(value, theirs[path], rtol=1e-6, atol=1e-6)
    assert abs(ours["net/dense/kernel"] - without["net/dense/kernel"]).max() > 1e-3


def zero_gradient_steps(optimizer, variable, count=200):
    zero = tf.zeros(variable.shape)
    for _ in range(count):
        optimizer.apply([zero], [variable])
    return variable.numpy()


def test_decays_as_the_paper_and_not_as_keras_weight_decay():
    """200 steps without gradient, learning rate * l2 = 0.001, momentum 0.9: 0.12 and not 0.82."""
    settings = {"learning_rate": 0.1, "momentum": 0.9}
    ours = zero_gradient_steps(SGDWithL2(**settings, l2=0.01), keras.Variable([[1.0]]))
    keras_own = zero_gradient_steps(
        keras.optimizers.SGD(**settings, weight_decay=0.01), keras.Variable([[1.0]])
    )
    weight, velocity = 1.0, 0.0
    for _ in range(200):
        velocity = 0.9 * velocity - 0.001 * weight
        weight += velocity
    np.testing.assert_allclose(ours, [[weight]], rtol=1e-4)
    np.testing.assert_allclose(ours, [[0.120]], atol=1e-3)
    np.testing.assert_allclose(keras_own, [[0.819]], atol=1e-3)


@pytest.mark.parametrize("shape", [(3,), ()])
def test_biases_and_scales_do_not_decay(shape):
    variable = keras.Variable(np.ones(shape, "float32"))
    value = zero_gradient_steps(SGDWithL2(0.1, momentum=0.9, l2=0.1), variable, count=3)
    np.testing.assert_array_equal(value, np.ones(shape))


def test_without_l2_is_keras_sgd():
    ours = train(SGDWithL2(0.01, momentum=0.9))
    theirs = train(keras.optimizers.SGD(0.01, momentum=0.9))
    for path, value in ours.items():
        np.testing.assert_array_equal(value, theirs[path])


def test_clipping_comes_before_the_decay():
    """The decay is part of the step and not of the gradient whose norm is clipped."""
    variable = keras.Variable([[1.0]])
    SGDWithL2(1.0, l2=0.1, global_clipnorm=0.5).apply([tf.constant([[100.0]])], [variable])
    np.testing.assert_allclose(variable.numpy(), [[1.0 - 0.5 - 0.1]], rtol=1e-6)


def test_serialization_keeps_the_settings():
    optimizer = SGDWithL2(0.02, l2=3e-4, momentum=0.8)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(copy, SGDWithL2)
    assert copy.get_config() == optimizer.get_config()
    assert (copy.l2, copy.momentum) == (3e-4, 0.8)


@pytest.fixture(scope="module")
def retinanet(make_tiny):
    return make_tiny(num_classes=2, channels=8, head_depth=1)


class TestKernelAdamW:
    def test_equals_keras_adamw_without_biases_and_norms(self):
        theirs = keras.optimizers.AdamW(0.01, weight_decay=0.1)
        theirs.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
        ours, theirs = train(KernelAdamW(0.01, weight_decay=0.1)), train(theirs)
        # In front of BatchNorm a bias has no gradient but noise, which Adam makes steps of.
        for path in ours.keys() - {"net/conv/bias"}:
            np.testing.assert_allclose(ours[path], theirs[path], rtol=1e-5, atol=1e-6)
        whole = train(keras.optimizers.AdamW(0.01, weight_decay=0.1))
        assert abs(ours["net/bn/gamma"] - whole["net/bn/gamma"]).max() > 1e-4

    def test_of_a_retinanet_only_kernels_decay(self, retinanet):
        """Without gradients, what changes is what decays."""
        optimizer = KernelAdamW(0.1, weight_decay=0.5)
        variables = retinanet.trainable_variables
        before = [v.numpy() for v in variables]
        optimizer.build(variables)
        optimizer.apply([tf.zeros(v.shape) for v in variables])
        for variable, old in zip(variables, before):
            share = 1 - 0.1 * 0.5 if variable.name == "kernel" else 1.0
            np.testing.assert_allclose(variable, share * old, rtol=1e-6, err_msg=variable.path)
            variable.assign(old)
        assert {v.name for v in variables} == {"kernel", "bias", "gamma", "beta"}

    def test_does_so_after_serialization(self):
        optimizer = KernelAdamW(0.1, weight_decay=0.5)
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
        kernel, bias = keras.Variable([[1.0]], name="kernel"), keras.Variable([1.0], name="bias")
        copy.apply([tf.zeros((1, 1)), tf.zeros(1)], [kernel, bias])
        np.testing.assert_allclose([kernel.numpy().item(), bias.numpy().item()], [0.95, 1.0])


class TestLossScaling:
    def step(self, optimizer, variable, strategy, *per_replica):
        gradients = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant([per_replica[context.replica_id_in_sync_group]])
        )

        def replica(gradient):
            optimizer.apply([gradient], [variable])

        tf.function(strategy.run, autograph=False)(replica, (gradients,))

    def make(self, kind, strategy):
        with strategy.scope():
            variable = keras.Variable([1.0])
            optimizer = kind(SGDWithL2(0.1), initial_scale=8.0)
            optimizer.build([variable])
        return optimizer, variable

    @pytest.mark.parametrize("bad", [(8.0, np.inf), (np.nan, 8.0), (np.inf, -np.inf)])
    def test_an_overflow_on_any_replica_skips_the_step_on_all(self, bad, two_replicas):
        optimizer, variable = self.make(LossScaling, two_replicas)
        self.step(optimizer, variable, two_replicas, 8.0, 16.0)
        np.testing.assert_allclose(variable, [1 - 0.1 * (1 + 2)], rtol=1e-6)
        self.step(optimizer, variable, two_replicas, *bad)
        for copy in two_replicas.experimental_local_results(variable.value):
            np.testing.assert_allclose(copy, [0.7], rtol=1e-6)
        assert optimizer.dynamic_scale.numpy() == 4.0
        assert optimizer.iterations.numpy() == 1

    def test_keras_own_lets_it_through(self, two_replicas):
        """Once this fails, LossScaling has done its work."""
        optimizer, variable = self.make(keras.optimizers.LossScaleOptimizer, two_replicas)
        self.step(optimizer, variable, two_replicas, 8.0, np.inf)
        assert not np.isfinite(variable.numpy()).all()

    def test_one_device(self):
        variable = keras.Variable([1.0])
        optimizer = LossScaling(SGDWithL2(0.1), initial_scale=8.0)
        optimizer.apply([tf.constant([np.inf])], [variable])
        assert (float(variable[0]), float(optimizer.dynamic_scale)) == (1.0, 4.0)
        optimizer.apply([tf.constant([4.0])], [variable])
        np.testing.assert_allclose(variable, [0.9], rtol=1e-6)

    def test_serialization_keeps_kind_and_optimizer_inside(self):
        optimizer = LossScaling(SGDWithL2(0.1, l2=0.3), initial_scale=16.0)
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
        assert isinstance(copy, LossScaling) and isinstance(copy.inner_optimizer, SGDWithL2)
        assert (copy.initial_scale, copy.inner_optimizer.l2) == (16.0, 0.3)
