import keras
import numpy as np
import pytest

from keras_retinanet.models.head_variant import variant_shared_head
from keras_retinanet.models.heads import Prediction, prior_bias, shared_head
from keras_retinanet.models.prediction_conv import PredictionConv2D

CHANNELS, ANCHORS, OUTPUTS = 64, 3, 5


@pytest.fixture(scope="module")
def head():
    keras.utils.set_random_seed(0)
    levels = [keras.Input((None, None, CHANNELS)) for _ in range(3)]
    apply = shared_head(
        name="head",
        predictions=[Prediction("head", OUTPUTS, bias=-1.5)],
        num_anchors=ANCHORS,
        channels=CHANNELS,
        depth=2,
    )
    return keras.Model(levels, *apply(levels))


def maps(*sizes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, h, w, CHANNELS)).astype("float32") for h, w in sizes]


def test_levels_share_their_parameters(head):
    names = [layer.name for layer in head.layers if layer.weights]
    assert names == ["head_conv_0", "head_conv_1", "head_predictions"]
    assert len(head.weights) == 6
    tower = 2 * (9 * CHANNELS * CHANNELS + CHANNELS)
    assert head.count_params() == tower + (9 * CHANNELS + 1) * ANCHORS * OUTPUTS


def test_equal_levels_have_equal_outputs(head):
    (x,) = maps((4, 6))
    first, second, third = np.split(head([x, x, x]).numpy(), 3, axis=1)
    np.testing.assert_allclose(first, second, rtol=1e-6)
    np.testing.assert_allclose(first, third, rtol=1e-6)


def test_outputs_are_in_the_order_of_the_anchors(head):
    """Levels, rows, columns, anchors; channel = anchor * outputs_per_anchor + output."""
    levels = maps((4, 6), (2, 3), (1, 2))
    expected = []
    for x in levels:
        for name in ("head_conv_0", "head_conv_1", "head_predictions"):
            layer = head.get_layer(name)
            x = keras.ops.conv(x, layer.kernel, padding="same") + layer.bias
            x = keras.ops.relu(x) if "conv" in name else x
        x = np.asarray(x)
        for row, column in np.ndindex(x.shape[1:3]):
            for anchor in range(ANCHORS):
                start = anchor * OUTPUTS
                expected.append(x[:, row, column, start : start + OUTPUTS])
    result = head(levels)
    assert result.shape == (2, ANCHORS * (24 + 6 + 2), OUTPUTS)
    np.testing.assert_allclose(result, np.stack(expected, axis=1), atol=1e-6)


def test_initialisation_is_the_papers(head):
    """Gaussian with sigma 0.01, biases 0 but for the last."""
    for name, bias in (("head_conv_0", 0), ("head_conv_1", 0), ("head_predictions", -1.5)):
        kernel, biases = head.get_layer(name).get_weights()
        np.testing.assert_allclose(kernel.std(), 0.01, rtol=0.05)
        np.testing.assert_allclose(kernel.mean(), 0, atol=5e-4)
        np.testing.assert_array_equal(biases, np.full_like(biases, bias))
    kernels = [head.get_layer(f"head_conv_{i}").kernel.numpy() for i in (0, 1)]
    assert np.any(kernels[0] != kernels[1])


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.2])
def test_prior_bias_is_the_logit_of_the_prior(prior):
    np.testing.assert_allclose(1 / (1 + np.exp(-prior_bias(prior))), prior, rtol=1e-12)


@pytest.mark.parametrize("norm", ["none", "group", "batch"])
def test_convolutions_of_variants_start_with_values_of_their_own(norm):
    levels = [keras.Input((None, None, CHANNELS)) for _ in range(5)]
    apply = variant_shared_head(
        name="head",
        predictions=[Prediction("head", OUTPUTS)],
        num_anchors=ANCHORS,
        channels=CHANNELS,
        depth=3,
        norm=norm,
        norm_epsilon=None,
        scaled=(),
        synchronized=False,
    )
    head = keras.Model(levels, apply(levels))
    kernels = [head.get_layer(f"head_conv_{i}").kernel.numpy() for i in range(3)]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.mean(kernels[first] == kernels[second]) < 0.01


class TestPredictionConv:
    def pair(self, dtype):
        """Return a PredictionConv2D, and a Conv2D in float32 with the same weights."""
        keras.utils.set_random_seed(1)
        mine = PredictionConv2D(8, 3, padding="same", dtype=dtype)
        plain = keras.layers.Conv2D(8, 3, padding="same", dtype="float32")
        for layer in (mine, plain):
            layer.build((None, None, None, CHANNELS))
        rng = np.random.default_rng(2)
        weights = [rng.normal(0, 0.05, w.shape) for w in plain.weights]
        weights[1] -= 50.0
        mine.set_weights(weights)
        plain.set_weights(weights)
        return mine, plain

    def test_is_a_convolution(self):
        mine, plain = self.pair("float32")
        (x,) = maps((4, 6))
        np.testing.assert_allclose(mine(x), plain(x), rtol=1e-6)
        assert [w.path.split("/")[-1] for w in mine.weights] == ["kernel", "bias"]

    def test_rounds_products_and_not_the_bias(self):
        mine, plain = self.pair("mixed_bfloat16")
        (x,) = maps((4, 6))
        outputs, expected = np.asarray(mine(x)), np.asarray(plain(x))
        assert outputs.dtype == np.float32 and mine.bias.dtype == "float32"
        # bfloat16 has steps of 0.25 around -50, and of 2**-7 or less of what is added to it.
        assert 0 < np.abs(outputs - expected).max() < 0.05

    def test_symbolic_outputs_are_float32(self):
        inputs = keras.Input((None, None, CHANNELS), dtype="bfloat16")
        outputs = PredictionConv2D(8, 3, dtype="mixed_bfloat16")(inputs)
        assert outputs.dtype == "float32" and outputs.shape == (None, None, None, 8)

    def test_has_its_place_in_files_among_the_convolutions(self, tmp_path):
        """So that files in which it was Keras' own layer can be read."""

        def model(last):
            inputs = keras.Input((4, 4, CHANNELS))
            first = keras.layers.Conv2D(CHANNELS, 1, name="first")(inputs)
            return keras.Model(inputs, last(8, 3, padding="same", name="last")(first))

        old, new = model(keras.layers.Conv2D), model(PredictionConv2D)
        old.save_weights(tmp_path / "old.weights.h5")
        new.load_weights(tmp_path / "old.weights.h5")
        for mine, its in zip(new.get_weights(), old.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, its)
