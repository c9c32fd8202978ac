"""Frozen BatchNorm as part of the convolution before it, against the layers one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.losses.detection import DetectionLoss
from keras_retinanet.models.folding import FoldedConvolution, folded_calls
from keras_retinanet.models.retinanet import RetinaNet


def frozen_model(backbone, **settings):
    """Return a small model whose norms are frozen, with statistics as after a training."""
    keras.utils.set_random_seed(3)
    model = RetinaNet(
        backbone,
        2,
        weights=None,
        fpn_channels=16,
        head_channels=16,
        head_depth=1,
        **{"batchnorm": "frozen", **settings},
    )
    rng = np.random.default_rng(4)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            low = {"gamma": 0.5, "moving_variance": 0.5}
            for weight in layer.weights:
                start = low.get(weight.name, -0.2)
                weight.assign(rng.uniform(start, start + 0.4, weight.shape))
    return model


def outputs_and_gradients(model, images):
    """Return what a training call gives, and the gradients of a sum of its outputs."""
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        total = sum(tf.reduce_sum(value * tf.sin(value)) for value in outputs.values())
    return outputs, tape.gradient(total, model.trainable_weights)


@pytest.mark.parametrize(
    ("backbone", "settings"),
    [
        ("resnet18", {}),
        ("mobilenet_v2", {"width": 0.35}),
        ("resnet18", {"batchnorm": "trainable", "frozen_stages": 3}),
    ],
    ids=["all frozen", "depthwise", "some frozen"],
)
def test_outputs_and_gradients_are_those_of_the_layers(backbone, settings):
    images = np.random.default_rng(5).uniform(0, 255, (2, 64, 96, 3)).astype(np.float32)
    model = frozen_model(backbone, **settings)
    expected = outputs_and_gradients(model, images)  # not compiled: layer by layer
    model.compile("sgd", DetectionLoss())
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    frozen = [norm for norm in norms if not norm.trainable]
    assert len(model._folded) == 2 * len(frozen) > 0
    folded = outputs_and_gradients(model, images)
    for name, value in expected[0].items():
        np.testing.assert_allclose(folded[0][name], value, rtol=2e-4, atol=1e-5)
    for variable, mine, its in zip(model.trainable_weights, folded[1], expected[1], strict=True):
        scale = np.abs(its).max()
        np.testing.assert_allclose(mine, its, atol=1e-3 * scale, err_msg=variable.path)


def test_nothing_changes_but_training():
    model = frozen_model("resnet18")
    images = np.random.default_rng(5).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    names, weights = [x.name for x in model.layers], [w.path for w in model.weights]
    before = model(images)
    model.compile("sgd", DetectionLoss())
    for name, value in model(images).items():
        np.testing.assert_array_equal(value, before[name])
    assert [x.name for x in model.layers] == names
    assert [w.path for w in model.weights] == weights
    assert model.get_layer("conv2_block1_1_conv").output is not None  # has one call


def test_trained_norms_stay_as_they_are():
    model = frozen_model("resnet18", batchnorm="trainable")
    model.compile("sgd", DetectionLoss())
    assert not model._folded
    for layer in model.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    model.compile("sgd", DetectionLoss())
    assert model._folded


def test_only_norms_after_convolutions_of_their_own_are_folded():
    inputs = keras.Input((8, 8, 3))
    own = keras.layers.Conv2D(4, 1, name="own")(inputs)
    shared = keras.layers.Conv2D(4, 1, name="shared")(inputs)
    active = keras.layers.Conv2D(4, 1, activation="relu", name="active")(inputs)
    norms = [keras.layers.BatchNormalization(name=f"norm_{i}") for i in range(3)]
    parts = [norm(x) for norm, x in zip(norms, (own, shared, active))]
    model = keras.Model(inputs, [*parts, shared])
    for norm in norms:
        norm.trainable = False
    assert set(folded_calls(model)) == {"own", "norm_0"}


def test_layers_of_others_are_called_as_they_are():
    """A convolution of one's own may do something else with its kernel."""

    class Doubled(keras.layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, 2.0 * kernel)

    class OwnNorm(keras.layers.BatchNormalization):
        pass

    inputs = keras.Input((8, 8, 3))
    after_own_conv = keras.layers.BatchNormalization(trainable=False)(Doubled(4, 1)(inputs))
    own_norm = OwnNorm(trainable=False)(keras.layers.Conv2D(4, 1)(inputs))
    assert folded_calls(keras.Model(inputs, [after_own_conv, own_norm])) == {}


@pytest.mark.parametrize("use_bias", [False, True])
def test_values_by_hand(use_bias):
    conv = keras.layers.Conv2D(1, 1, use_bias=use_bias)
    norm = keras.layers.BatchNormalization(epsilon=0.0)
    conv.build((None, 1, 1, 1))
    norm.build((None, 1, 1, 1))
    conv.set_weights([np.full((1, 1, 1, 1), 3.0), np.array([5.0])][: 1 + use_bias])
    # gamma, beta, mean, variance
    norm.set_weights([np.array([x]) for x in (6.0, 0.5, 1.0, 4.0)])
    result = FoldedConvolution(conv, norm)(np.full((1, 1, 1, 1), 2.0, np.float32))
    # (2 * 3 [+ 5] - 1) / 2 * 6 + 0.5
    assert float(np.squeeze(result)) == pytest.approx(30.5 if use_bias else 15.5)


def test_weights_are_rounded_once_in_bfloat16():
    model = frozen_model("resnet18", dtype="mixed_bfloat16")
    model.compile("sgd", DetectionLoss())
    norm = next(x for x in model.layers if isinstance(x, keras.layers.BatchNormalization))
    assert model._folded[norm.name](np.zeros((1, 64, 64, 3), np.float32)).dtype == tf.bfloat16
    assert all(weight.dtype == "float32" for weight in model.weights)
