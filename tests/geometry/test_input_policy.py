import math
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.geometry.input_policy import InputPolicy

POLICIES = {
    "paper": InputPolicy(),
    "800": InputPolicy(size=800),
    "small": InputPolicy(size=240, max_size=320),
    "square": InputPolicy("square", size=512),
}


@pytest.fixture(params=POLICIES.values(), ids=POLICIES.keys())
def policy(request):
    return request.param


@pytest.fixture
def sizes(rng):
    """Thousands of heights and widths, from 1 pixel to 12000."""
    return np.exp(rng.uniform(0, np.log(12_000), (5000, 2))).astype(np.int32)


def scaled(policy, height, width, **settings):
    return tuple(int(x) for x in policy.scaled_size(height, width, **settings))


def canvas(policy, height, width):
    return tuple(int(x) for x in policy.canvas_size(*policy.scaled_size(height, width)))


@pytest.mark.parametrize(
    ("image", "network", "padded"),  # height, width
    [
        ((480, 640), (600, 800), (608, 800)),
        ((640, 480), (800, 600), (800, 608)),
        ((600, 1000), (600, 1000), (608, 1024)),
        ((333, 500), (600, 901), (608, 928)),
        ((500, 2000), (333, 1333), (352, 1344)),  # 1333 caps the longer side
        ((5000, 100), (1333, 27), (1344, 32)),
        ((20_000, 1), (1333, 1), (1344, 32)),  # never nothing
        ((100, 100), (600, 600), (608, 608)),  # small images are enlarged
    ],
)
def test_shorter_side_is_600_and_longer_at_most_1333(image, network, padded):
    assert scaled(InputPolicy(), *image) == network
    assert canvas(InputPolicy(), *image) == padded


@pytest.mark.parametrize(
    ("image", "network"),
    [
        ((480, 640), (384, 512)),
        ((640, 480), (512, 384)),
        ((30, 30), (512, 512)),
        ((1, 900), (1, 512)),
    ],
)
def test_square_scales_the_longer_side_and_pads_to_a_square(image, network):
    assert scaled(POLICIES["square"], *image) == network
    assert canvas(POLICIES["square"], *image) == (512, 512)


@pytest.mark.parametrize("image", [(480, 640), (1, 900), (30, 30), (4000, 3)])
def test_stretch_fills_the_square(image):
    policy = InputPolicy("stretch", size=96)
    assert scaled(policy, *image) == canvas(policy, *image) == (96, 96)
    assert policy.has_one_canvas and not InputPolicy().has_one_canvas


def test_stretch_of_arrays_and_given_sizes():
    """Jittered images are smaller, and lie on the same canvas."""
    policy = InputPolicy("stretch", size=96)
    height, width = policy.scaled_size([480, 100], [640, 900], [64, 80])
    np.testing.assert_array_equal(height, [64, 80])
    np.testing.assert_array_equal(width, [64, 80])
    assert {int(side) for sides in policy.canvas_size(height, width) for side in sides} == {96}
    height, _ = policy.scaled_size([480, 100], [640, 900])
    np.testing.assert_array_equal(height, [96, 96])


def test_square_of_a_size_that_is_no_multiple():
    assert canvas(InputPolicy("square", size=500), 480, 640) == (512, 512)


def test_size_may_be_given_for_each_image():
    height, width = InputPolicy().scaled_size([480, 480, 480], [640, 640, 640], [400, 600, 1200])
    np.testing.assert_array_equal(height, [400, 600, 1000])
    np.testing.assert_array_equal(width, [533, 800, 1333])


def test_rounds_to_the_nearest_pixel(policy, sizes):
    """Against exact fractions; rounding at exactly half a pixel is left open."""
    for height, width in sizes[:500].tolist():
        if policy.resize == "square":
            scale = Fraction(policy.size, max(height, width))
        else:
            limits = (policy.size, min(height, width)), (policy.max_size, max(height, width))
            scale = min(Fraction(*limit) for limit in limits)
        for side, result in zip((height, width), scaled(policy, height, width)):
            assert abs(result - max(side * scale, 1)) <= Fraction(1, 2) + Fraction(1, 1000)


def test_limits_are_met_exactly(policy, sizes):
    height, width = policy.scaled_size(*sizes.T)
    shorter, longer = np.minimum(height, width), np.maximum(height, width)
    if policy.resize == "square":
        assert (longer == policy.size).all()
    else:
        assert ((shorter == policy.size) | (longer == policy.max_size)).all()
        assert (shorter <= policy.size).all() and (longer <= policy.max_size).all()
    assert (shorter >= 1).all()


def test_canvas_is_the_least_multiple_of_32_that_holds_the_image(policy, sizes):
    height, width = policy.scaled_size(*sizes.T)
    for side, padded in zip((height, width), policy.canvas_size(height, width)):
        side, padded = np.asarray(side), np.asarray(padded)
        assert (padded % 32 == 0).all() and (padded >= side).all()
        if policy.resize == "shorter_side":
            assert (padded - side < 32).all()


def test_pad_multiple_is_a_setting():
    policy = InputPolicy(pad_multiple=128)
    assert canvas(policy, 480, 640) == (640, 896)


def test_arrays_graphs_and_pipelines_agree(policy, sizes):
    """The plan of the batches asks for all images at once, an exported graph for one at a time."""

    def both(height, width):
        scaled_size = policy.scaled_size(height, width)
        return tf.stack([*scaled_size, *policy.canvas_size(*scaled_size)], axis=-1)

    expected = both(*sizes.T)
    assert expected.dtype == tf.int32
    spec = tf.TensorSpec((None,), tf.int32)
    graph = tf.function(both, input_signature=[spec, spec])
    np.testing.assert_array_equal(graph(*sizes.T), expected)
    one_by_one = tf.data.Dataset.from_tensor_slices(sizes).map(lambda s: both(s[0], s[1]))
    batch = next(one_by_one.batch(len(sizes)).as_numpy_iterator())
    np.testing.assert_array_equal(batch, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": "longer"}, "resize must be one of.*'longer'"),
        ({"size": 0}, "must be positive"),
        ({"pad_multiple": 0}, "must be positive"),
        ({"resize": "stretch", "size": 100}, "size 100 must be a multiple of 32"),
        ({"size": 1400}, "max_size 1333 must not be below size 1400"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        InputPolicy(**settings)


def test_square_has_no_max_size():
    assert InputPolicy("square", size=1400).size == 1400


class TestDetails:
    def test_floor_cuts_as_torchvision_does(self):
        """Python's floats: side * (size / shorter), cut."""
        heights, widths = np.meshgrid(np.arange(37, 700, 13), np.arange(41, 900, 17))
        heights, widths = heights.ravel(), widths.ravel()
        policy = InputPolicy(size=320, max_size=480, rounding="floor")
        ours = np.stack(policy.scaled_size(heights, widths), axis=1)
        expected = []
        for height, width in zip(heights.tolist(), widths.tolist(), strict=True):
            scale = min(320 / min(height, width), 480 / max(height, width))
            expected.append((math.floor(height * scale), math.floor(width * scale)))
        np.testing.assert_array_equal(ours, np.maximum(expected, 1))
        nearest = np.stack(InputPolicy(size=320, max_size=480).scaled_size(heights, widths), axis=1)
        assert (nearest != ours).any()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"pixels": "int8"}, "pixels must be one of"),
            ({"rounding": "up"}, "rounding must be one of"),
            ({"pad_value": (1, 2)}, "pad_value needs R, G and B"),
            ({"pad_value": (1, 2, 256)}, "pad_value needs R, G and B"),
        ],
    )
    def test_unknown_ones_are_refused(self, settings, message):
        with pytest.raises(ValueError, match=message):
            InputPolicy(**settings)
