import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.conventions import STAGE_PREFIXES
from keras_retinanet.models.backbones.build import BACKBONES
from keras_retinanet.optimizers.layer_rates import stage_rates
from keras_retinanet.optimizers.weight_decay import KernelAdamW, SGDWithL2


def test_rates_fall_from_the_top_stage_to_the_stem():
    rates = stage_rates(backbone_rate=0.5, layer_decay=0.8)
    expected = {
        prefix: 0.5 * 0.8 ** (6 - stage)
        for stage, prefixes in enumerate(STAGE_PREFIXES, 1)
        for prefix in prefixes
    }
    assert rates == pytest.approx(expected)
    assert rates["conv5_"] == pytest.approx(0.4)


def test_without_settings_there_are_none():
    assert stage_rates() == {}


def test_every_layer_of_a_backbone_is_of_one_stage():
    """A prefix that fits nothing would silently give the stage the full rate."""
    images = keras.Input((32, 32, 3))
    model = keras.Model(images, BACKBONES["resnet18"](images, None))
    stages = [
        [prefixes for prefixes in STAGE_PREFIXES if layer.name.startswith(prefixes)]
        for layer in model.layers
        if layer.weights
    ]
    assert all(len(found) == 1 for found in stages)
    assert {found[0] for found in stages} == set(STAGE_PREFIXES)


def step_sizes(optimizer):
    """The sizes of a step by layer, for gradients of 1."""
    model = keras.Sequential(
        [keras.Input((2,))]
        + [
            keras.layers.Dense(2, name=name)
            for name in ("conv1_conv", "conv2_block1_1_conv", "conv2_b", "head_conv1_")
        ]
    )
    before = [v.numpy() for v in model.trainable_variables]
    optimizer.build(model.trainable_variables)
    optimizer.apply([np.ones(v.shape, "float32") for v in model.trainable_variables])
    sizes = {}
    for variable, old in zip(model.trainable_variables, before):
        sizes.setdefault(variable.path.split("/")[-2], []).append(old - variable.numpy())
    return {name: np.concatenate([s.ravel() for s in steps]) for name, steps in sizes.items()}


RATES = {"conv1_": 0.25, "conv2_": 0.5, "conv2_b": 3.0}


@pytest.mark.parametrize("kind", [SGDWithL2, KernelAdamW])
def test_steps_of_layers(kind):
    """The longest prefix counts; a prefix inside of a name does not."""
    settings = {"weight_decay": 0.0} if kind is KernelAdamW else {}
    expected = {"conv1_conv": 0.25, "conv2_block1_1_conv": 3.0, "conv2_b": 3.0, "head_conv1_": 1.0}
    found = step_sizes(kind(0.01, layer_rates=RATES, **settings))
    for name, factor in expected.items():
        np.testing.assert_allclose(found[name], 0.01 * factor, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("optimizer", "decay"),
    [
        (SGDWithL2(0.1, l2=0.5, layer_rates={"slow": 0.1}), 0.5),
        (KernelAdamW(0.1, weight_decay=0.5, layer_rates={"slow": 0.1}), 0.5),
    ],
    ids=["sgd", "adamw"],
)
def test_a_layer_s_rate_scales_its_decay(optimizer, decay):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="slow")])
    kernel, _ = model.trainable_variables
    before = kernel.numpy()
    optimizer.build(model.trainable_variables)
    optimizer.apply([np.zeros(v.shape, "float32") for v in model.trainable_variables])
    np.testing.assert_allclose(kernel.numpy(), before * (1 - 0.1 * 0.1 * decay), rtol=1e-5)


def test_two_replicas_step_as_one(two_replicas):
    """Each replica's copy of a variable finds its rate."""
    with two_replicas.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="conv1_conv")])
        optimizer = SGDWithL2(0.01, layer_rates=RATES)
        optimizer.build(model.trainable_variables)
    before = [v.numpy() for v in model.trainable_variables]
    ones = [np.ones(v.shape, "float32") for v in model.trainable_variables]

    def replica():
        optimizer.apply([tf.convert_to_tensor(one) for one in ones])

    two_replicas.run(replica)
    for variable, old in zip(model.trainable_variables, before):
        # Gradients are summed over the replicas.
        np.testing.assert_allclose(old - variable.numpy(), 2 * 0.01 * 0.25, rtol=1e-4)


@pytest.mark.parametrize("kind", [SGDWithL2, KernelAdamW])
def test_serialization_keeps_the_rates(kind):
    optimizer = kind(0.01, layer_rates=RATES)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(copy, kind)
    assert copy.layer_rates == RATES
    assert copy.get_config() == optimizer.get_config()
