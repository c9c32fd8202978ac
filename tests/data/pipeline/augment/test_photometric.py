import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.pipeline.augment.photometric import (
    colour_map,
    map_colours,
    random_photometric,
)

NONE = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
STRONG = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.8, "hue": 90.0, "gray": 0.2}
RED, GREY = (255, 0, 0), (90, 90, 90)


@pytest.fixture(scope="module")
def noise():
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    image[0, :2] = RED, GREY
    return image


def changed(image, **change):
    return map_colours(tf.constant(image), *colour_map(**{**NONE, **change})).numpy()


def reference(image, *, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0):
    """Step by step in float64, with the matrices written out as in the W3C's recommendation."""
    c, s = np.cos(np.radians(hue)), np.sin(np.radians(hue))
    turn = [
        [
            0.213 + c * 0.787 - s * 0.213,
            0.715 - c * 0.715 - s * 0.715,
            0.072 - c * 0.072 + s * 0.928,
        ],
        [
            0.213 - c * 0.213 + s * 0.143,
            0.715 + c * 0.285 + s * 0.140,
            0.072 - c * 0.072 - s * 0.283,
        ],
        [
            0.213 - c * 0.213 - s * 0.787,
            0.715 - c * 0.715 + s * 0.715,
            0.072 + c * 0.928 + s * 0.072,
        ],
    ]
    k = saturation
    saturate = [
        [0.213 + 0.787 * k, 0.715 - 0.715 * k, 0.072 - 0.072 * k],
        [0.213 - 0.213 * k, 0.715 + 0.285 * k, 0.072 - 0.072 * k],
        [0.213 - 0.213 * k, 0.715 - 0.715 * k, 0.072 + 0.928 * k],
    ]
    pixels = image.astype(np.float64) / 255 @ np.transpose(turn) @ np.transpose(saturate)
    return np.clip(((pixels * brightness) - 0.5) * contrast + 0.5, 0, 1) * 255


@pytest.mark.parametrize(
    "change",
    [
        {"hue": 30.0},
        {"hue": -120.0},
        {"saturation": 0.4},
        {"saturation": 1.8},
        {"brightness": 1.3},
        {"contrast": 0.5},
        {"contrast": 1.6},
        {"hue": 75.0, "saturation": 1.4, "brightness": 0.8, "contrast": 1.3},
    ],
    ids=str,
)
def test_equals_the_reference(noise, change):
    found = changed(noise, **change)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, reference(noise, **change), atol=0.51)


def test_nothing_changes_without_strength(noise, drawings):
    np.testing.assert_array_equal(changed(noise), noise)
    for i, result in enumerate(drawings.run(random_photometric, count=20)):
        np.testing.assert_array_equal(result["image"], drawings.images[i])


def test_closed_forms(noise):
    assert changed(noise, saturation=0.0)[0, 0].tolist() == [54, 54, 54]  # 0.213 * 255
    assert changed(noise, hue=180.0, saturation=2.0)[0, 1].tolist() == list(GREY)
    assert changed(noise, brightness=1.5)[0, 1].tolist() == [135] * 3
    assert changed(noise, contrast=0.0)[0, 0].tolist() == [128] * 3
    np.testing.assert_allclose(changed(noise, hue=360.0), noise, atol=1)


def test_boxes_and_all_else_are_left_alone(drawings, in_tf_data, count):
    results = drawings.run(
        lambda e, seed: random_photometric(e, seed, **STRONG), in_tf_data=in_tf_data, count=count
    )
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result["boxes"], drawings.boxes[i : i + 1])
        assert result["labels"] == [i] and result["visible"] == [1]
        assert result["image"].dtype == np.uint8
        assert result["image"].shape == drawings.images[i].shape


def test_draws_fill_their_ranges_and_no_more(drawings):
    """Brightness alone moves the background of 20 to 10 ... 30."""
    results = drawings.run(lambda e, seed: random_photometric(e, seed, brightness=0.5))
    values = [r["image"].min() for r in results]
    assert 10 <= min(values) <= 11 and 29 <= max(values) <= 30


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 0), (0.3, 60), (1.0, 200)])
def test_gray_has_its_chance(drawings, chance, expected):
    def run(example, seed):
        image = example["image"] // tf.constant([1, 2, 4], tf.uint8)
        return random_photometric({**example, "image": image}, seed, gray=chance)

    is_gray = [np.ptp(r["image"], axis=2).max() == 0 for r in drawings.run(run)]
    assert abs(sum(is_gray) - expected) <= (20 if 0 < chance < 1 else 0)


def test_one_seed_gives_one_result(drawings):
    def run(example, seed):
        return random_photometric(example, seed, **STRONG)

    eager = drawings.run(run, in_tf_data=False, count=6)
    for a, b in zip(eager, drawings.run(run, count=6), strict=True):
        np.testing.assert_allclose(a["image"].astype(int), b["image"].astype(int), atol=1)
    assert len({r["image"].tobytes() for r in eager}) == 6
