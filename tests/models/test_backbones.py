import keras
import numpy as np
import pytest
from keras import layers

from keras_retinanet.errors import WeightsError
from keras_retinanet.models.backbones.build import BACKBONES, build_backbone
from keras_retinanet.models.backbones.resnet import bottleneck_resnet


def build(name="resnet18", *, weights=None, batchnorm="auto"):
    keras.utils.set_random_seed(0)
    images = keras.Input((None, None, 3))
    return keras.Model(images, build_backbone(name, images, weights=weights, batchnorm=batchnorm))


def batch_norms(model):
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


@pytest.fixture(scope="module")
def resnet18():
    return build()


@pytest.fixture(scope="module")
def resnet34():
    return build("resnet34")


@pytest.fixture(scope="module")
def resnet18_file(resnet18, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.weights.h5"
    for weight in resnet18.weights:  # no value a fresh backbone has
        weight.assign(np.random.default_rng(0).uniform(0.5, 1.5, weight.shape))
    resnet18.save_weights(path)
    return str(path)


@pytest.fixture(scope="module")
def from_file(resnet18_file):
    return build(weights=resnet18_file)


@pytest.mark.parametrize("size", [(64, 64), (65, 63), (33, 127), (1, 1)])
def test_strides_are_8_16_32_rounded_up(resnet18, size):
    maps = resnet18(np.zeros((1, *size, 3), "float32"))
    for features, stride, channels in zip(maps, (8, 16, 32), (128, 256, 512), strict=True):
        assert features.shape == (1, -(-size[0] // stride), -(-size[1] // stride), channels)


@pytest.mark.parametrize(
    ("name", "torchvisions"), [("resnet18", 11_689_512), ("resnet34", 21_797_672)]
)
def test_parameters_are_those_of_the_original(request, name, torchvisions):
    model = request.getfixturevalue(name)
    classifier = 512 * 1000 + 1000
    statistics = sum(2 * bn.gamma.shape[0] for bn in batch_norms(model))
    assert model.count_params() == torchvisions - classifier + statistics


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"backbone must be one of resnet18, .*not 'vgg'"):
        build("vgg")
    with pytest.raises(ValueError, match=r"batchnorm must be one of.*not 'no'"):
        build(batchnorm="no")


@pytest.mark.parametrize(
    ("mode", "trainable", "synchronized"),
    [
        ("auto", True, False),
        ("frozen", False, False),
        ("trainable", True, False),
        ("synchronized", True, True),
    ],
)
def test_batchnorm_modes_of_random_weights(mode, trainable, synchronized):
    norms = batch_norms(build(batchnorm=mode))
    assert len(norms) == 20
    assert {(n.trainable, n.synchronized) for n in norms} == {(trainable, synchronized)}


def test_batchnorm_with_weights_is_frozen_unless_asked_for(from_file, retinanet50):
    assert not any(norm.trainable for norm in batch_norms(from_file))
    assert len(batch_norms(retinanet50)) == 53
    assert all(norm.trainable for norm in batch_norms(retinanet50))


class TestPreprocessing:
    @staticmethod
    def of(model, images):
        return keras.Model(model.input, model.get_layer("preprocessing").output)(images)

    @pytest.fixture
    def images(self, rng):
        return rng.integers(0, 256, (2, 32, 32, 3)).astype("float32")

    def test_resnet18_has_torchvisions(self, resnet18, images):
        expected = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        np.testing.assert_allclose(self.of(resnet18, images), expected, atol=1e-5)

    def test_resnet50_has_that_of_keras_applications(self, retinanet50, images):
        expected = keras.applications.resnet.preprocess_input(images.copy())
        np.testing.assert_allclose(self.of(retinanet50, images), expected, atol=1e-4)


class TestWeights:
    def test_file_of_resnet18_is_loaded(self, resnet18, from_file):
        for ours, theirs in zip(from_file.get_weights(), resnet18.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_file_of_keras_resnet50_is_loaded(self, retinanet50, keras_resnet50):
        with_weights = [layer for layer in keras_resnet50.layers if layer.weights]
        assert len(with_weights) == 106
        for layer in with_weights:
            ours = retinanet50.get_layer(layer.name).get_weights()
            for a, b in zip(ours, layer.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)

    def test_features_are_those_of_keras_resnet50(self, retinanet50, keras_resnet50, rng):
        images = rng.integers(0, 256, (1, 64, 64, 3)).astype("float32")
        layer = "conv4_block6_out"
        ours = keras.Model(retinanet50.input, retinanet50.get_layer(layer).output)
        theirs = keras.Model(keras_resnet50.input, keras_resnet50.get_layer(layer).output)
        expected = theirs(keras.applications.resnet.preprocess_input(images.copy()))
        np.testing.assert_allclose(ours(images), expected, rtol=1e-4, atol=1e-3)

    # Keras warns of each part of the model that it finds nothing for, and then fails.
    @pytest.mark.filterwarnings("ignore:Skipping nested container")
    @pytest.mark.parametrize("name", ["resnet34", "resnet50"])
    def test_file_of_another_backbone_is_refused(self, name, resnet18_file):
        with pytest.raises(WeightsError, match=r"do not fit.*model\.weights=none"):
            build(name, weights=resnet18_file)

    @pytest.mark.filterwarnings("ignore:Skipping nested container")
    def test_file_with_more_than_the_backbone_has_is_refused(self, resnet34, tmp_path):
        resnet34.save_weights(tmp_path / "resnet34.weights.h5")
        with pytest.raises(WeightsError, match=r"do not fit"):
            build("resnet18", weights=str(tmp_path / "resnet34.weights.h5"))

    def test_file_that_is_no_weights_file_is_refused(self, tmp_path):
        path = tmp_path / "text.weights.h5"
        path.write_text("not weights")
        with pytest.raises(WeightsError, match=r"do not fit.*path of a weights file"):
            build(weights=str(path))

    @pytest.mark.parametrize("name", ["resnet18", "resnet50"])
    def test_missing_file_is_named(self, name):
        with pytest.raises(WeightsError, match=r"there is no file nowhere\.weights\.h5"):
            build(name, weights="nowhere.weights.h5")

    def test_resnet18_has_no_imagenet_weights_and_says_so(self):
        with pytest.raises(WeightsError, match=r"no ImageNet weights.*model\.weights=none"):
            build("resnet18", weights="imagenet")

    def test_imagenet_without_network_says_what_to_do(self, monkeypatch):
        def no_network(**options):
            assert options["weights"] == "imagenet"
            raise Exception("URL fetch failure on https://example.com: None -- no route")

        builder = bottleneck_resnet(no_network, (4, 6, 3))
        monkeypatch.setitem(BACKBONES, "resnet50", builder)
        with pytest.raises(WeightsError, match=r"URL fetch failure.*model\.weights=none") as caught:
            build("resnet50", weights="imagenet")
        assert len(str(caught.value).splitlines()) == 1
