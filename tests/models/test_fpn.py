import keras
import numpy as np
import pytest

from keras_retinanet.models.fpn import UpsampleLike, feature_pyramid

CHANNELS = 8


def conv2d(x, layer, strides=1):
    return keras.ops.conv(x, layer.kernel, strides=strides, padding="same") + layer.bias


@pytest.fixture(scope="module")
def fpn():
    keras.utils.set_random_seed(0)
    maps = [keras.Input((None, None, c), name=f"c{i}") for i, c in ((3, 4), (4, 6), (5, 10))]
    return keras.Model(maps, feature_pyramid(*maps, channels=CHANNELS))


def features(height, width):
    rng = np.random.default_rng(0)
    shapes = [(-(-height // s), -(-width // s), c) for s, c in ((8, 4), (16, 6), (32, 10))]
    return [rng.normal(size=(2, *shape)).astype("float32") for shape in shapes]


@pytest.mark.parametrize("size", [(64, 64), (65, 63), (33, 127), (1, 1), (200, 72)])
def test_sizes_are_the_images_over_the_strides_rounded_up(fpn, size):
    for level, p in zip(range(3, 8), fpn(features(*size)), strict=True):
        assert p.shape == (2, -(-size[0] // 2**level), -(-size[1] // 2**level), CHANNELS)


@pytest.mark.parametrize("size", [(64, 64), (72, 40)])
def test_is_the_papers_pyramid(fpn, size):
    """Written out once more from the variables: laterals, top-down sums, P6 of C5, P7 of P6."""
    c3, c4, c5 = features(*size)
    layer = {each.name: each for each in fpn.layers}

    def top_down(top, lateral):
        doubled = np.repeat(np.repeat(top, 2, axis=1), 2, axis=2)
        return doubled[:, : lateral.shape[1], : lateral.shape[2]] + lateral

    p5 = conv2d(c5, layer["fpn_lateral_c5"])
    p4 = top_down(p5, conv2d(c4, layer["fpn_lateral_c4"]))
    p3 = top_down(p4, conv2d(c3, layer["fpn_lateral_c3"]))
    p6 = conv2d(c5, layer["fpn_p6"], strides=2)
    p7 = conv2d(keras.ops.relu(p6), layer["fpn_p7"], strides=2)
    outputs = [conv2d(p, layer[f"fpn_output_p{i}"]) for i, p in ((3, p3), (4, p4), (5, p5))]
    for ours, expected in zip(fpn([c3, c4, c5]), [*outputs, p6, p7], strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_kernels_start_with_variance_one_over_fan_in_and_biases_at_zero(fpn):
    kernel = fpn.get_layer("fpn_output_p3").kernel.numpy()
    np.testing.assert_allclose(kernel.var(), 1 / (9 * CHANNELS), rtol=0.2)
    assert not fpn.get_layer("fpn_output_p3").bias.numpy().any()


def test_upsampling_repeats_and_cuts():
    top = np.arange(6, dtype="float32").reshape(1, 2, 3, 1)
    result = UpsampleLike()([top, np.zeros((1, 3, 5, 1))])
    expected = [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]
    np.testing.assert_array_equal(result[0, :, :, 0], expected)
