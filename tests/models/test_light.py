"""The light model: MobileNetV2, separable pyramid and heads."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
from keras import layers

from keras_retinanet.errors import WeightsError
from keras_retinanet.losses import DetectionLoss
from keras_retinanet.models.backbones.build import build_backbone
from keras_retinanet.models.backbones.mobilenet import FEATURE_LAYERS
from keras_retinanet.models.retinanet import RetinaNet

WIDTH = 0.35  # Keras' slimmest: a quarter of the time to build and run


def light(**settings):
    keras.utils.set_random_seed(0)
    defaults = {"weights": None, "separable": True, "width": WIDTH, "num_classes": 3}
    defaults |= {"fpn_channels": 16, "head_channels": 16, "head_depth": 2}
    return RetinaNet("mobilenet_v2", **{**defaults, **settings})


def batch_norms(model, part=""):
    found = [x for x in model.layers if isinstance(x, layers.BatchNormalization)]
    return [layer for layer in found if part in layer.name]


@pytest.fixture(scope="module")
def model():
    return light()


@pytest.fixture(scope="module")
def original():
    """Keras' own, with values that no fresh one has."""
    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNetV2(
        input_shape=(None, None, 3), alpha=WIDTH, include_top=False, weights=None
    )
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + rng.uniform(0.05, 0.3, weight.shape))
    return model


@pytest.fixture(scope="module")
def weights_file(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    original.save_weights(path)
    return str(path)


@pytest.fixture(scope="module")
def backbone(weights_file):
    images = keras.Input((None, None, 3))
    features = build_backbone(
        "mobilenet_v2", images, weights=weights_file, batchnorm="auto", width=WIDTH
    )
    return keras.Model(images, features)


def test_features_are_those_of_keras(backbone, original, rng):
    images = rng.integers(0, 256, (2, 64, 96, 3)).astype("float32")
    theirs = keras.Model(original.input, [original.get_layer(n).output for n in FEATURE_LAYERS])
    expected = theirs(keras.applications.mobilenet_v2.preprocess_input(images.copy()))
    for ours, wanted, stride in zip(backbone(images), expected, (8, 16, 32), strict=True):
        assert ours.shape[1:3] == (64 // stride, 96 // stride)
        scale = np.abs(wanted).max()
        assert scale > 0.1
        np.testing.assert_allclose(ours, wanted, atol=1e-5 * scale)


@pytest.mark.parametrize("size", [(65, 33), (1, 1), (63, 127)])
def test_strides_are_rounded_up_for_odd_sizes(backbone, size):
    for features, stride in zip(backbone(np.zeros((1, *size, 3))), (8, 16, 32), strict=True):
        assert features.shape[1:3] == (-(-size[0] // stride), -(-size[1] // stride))


def test_batchnorm_of_weights_is_frozen_and_settles_fast(backbone):
    norms = batch_norms(backbone)
    assert len(norms) == 52
    assert {(norm.trainable, norm.momentum) for norm in norms} == {(False, 0.97)}


def test_width_scales_channels_and_is_for_mobilenet_alone():
    images = keras.Input((64, 64, 3))
    wide = build_backbone("mobilenet_v2", images, weights=None, batchnorm="auto", width=0.5)
    assert [features.shape[-1] for features in wide] == [16, 48, 1280]
    with pytest.raises(ValueError, match=r"width = 0\.5 is for mobilenet_v2, not resnet18"):
        build_backbone("resnet18", images, weights=None, batchnorm="auto", width=0.5)


def test_weights_of_another_width_are_refused(weights_file):
    with pytest.raises(WeightsError, match=r"do not fit.*model\.weights=none"):
        light(width=0.5, weights=weights_file)


class TestHeads:
    def test_levels_share_convolutions_and_have_their_own_statistics(self, model):
        for head in ("class_head", "box_head"):
            convs = [x.name for x in model.layers if x.name.startswith(head) and x.weights]
            convs = [name for name in convs if "_bn_" not in name]
            assert convs == [f"{head}_conv_0", f"{head}_conv_1", f"{head}_predictions"]
            assert len(batch_norms(model, f"{head}_bn")) == 2 * 5

    def test_parameters(self, model):
        """Depthwise 9 c, pointwise c c', and four numbers a channel of each normalisation."""
        c = 16
        head = 2 * (9 * c + c * c) + 2 * 5 * 4 * c
        outputs = sum(9 * c + c * 9 * k + 9 * k for k in (3, 4))
        names = ("class_head", "box_head")
        counted = sum(np.prod(v.shape) for v in model.weights if v.path.startswith(names))
        assert counted == 2 * head + outputs

    def test_every_anchor_starts_as_foreground_with_the_prior(self, model, rng):
        images = rng.integers(0, 256, (2, 64, 64, 3))
        weights = model.get_weights()
        outputs = model(images, training=True)
        model.set_weights(weights)
        scores = 1 / (1 + np.exp(-np.asarray(outputs["class_logits"], np.float64)))
        np.testing.assert_allclose(scores.mean(), 0.01, rtol=0.1)
        # A signal reaches the outputs, as it would not through thin layers of sigma 0.01.
        assert 0.005 < np.std(outputs["class_logits"]) < 0.5
        assert 0.005 < np.std(outputs["box_deltas"]) < 0.5

    def test_normalisation_is_trained_when_the_backbones_is_frozen(self):
        frozen = light(batchnorm="frozen")
        assert {n.trainable for n in batch_norms(frozen, "head_bn")} == {True}
        assert {n.trainable for n in batch_norms(frozen, "fpn_")} == {True}
        assert {n.trainable for n in batch_norms(frozen, "block_")} == {False}

    def test_normalisation_is_synchronized_on_demand(self):
        assert {n.synchronized for n in batch_norms(light(batchnorm="synchronized"))} == {True}


def test_saving_keeps_all(model, tmp_path, rng):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    config = loaded.get_config()
    kept = config["width"], config["separable"], config["backbone"]
    assert kept == (WIDTH, True, "mobilenet_v2")
    images = rng.integers(0, 256, (1, 64, 64, 3))
    for name, value in model(images).items():
        np.testing.assert_array_equal(loaded(images)[name], value)


def test_files_from_before_these_settings_load(make_tiny):
    config = make_tiny(channels=8).get_config()
    del config["width"], config["separable"]
    config = RetinaNet.from_config(config).get_config()
    assert (config["width"], config["separable"]) == (1.0, False)


@pytest.mark.slow
def test_loss_starts_alike_on_one_and_two_replicas(two_replicas, make_batch):
    losses = []
    for replicas in (1, 2):
        with two_replicas.scope() if replicas == 2 else nullcontext():
            model = light(batchnorm="synchronized")
            model.compile("sgd", loss=DetectionLoss())
        images, targets = make_batch(model, (3, 1, 2, 2), size=64)
        history = model.fit(images, targets, batch_size=4, epochs=2, verbose=0)
        losses.append(history.history["loss"])
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(losses[0][0], losses[1][0], rtol=1e-3)
    assert losses[0][0] < 6
