import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.pipeline.augment.flip import (
    flip_horizontally,
    flip_vertically,
    random_flip,
)

BOXES = np.array([[2, 1, 7, 4], [0, 0, 10, 6]], np.float32)


@pytest.fixture
def example():
    image = np.arange(6 * 10 * 3, dtype=np.uint8).reshape(6, 10, 3)
    return {"image": tf.constant(image), "boxes": tf.constant(BOXES), "labels": tf.constant([3, 4])}


def crop(example, box=0):
    """The pixels in one box."""
    x1, y1, x2, y2 = example["boxes"][box].numpy().astype(int)
    return example["image"].numpy()[y1:y2, x1:x2]


@pytest.mark.parametrize(("flip", "axis"), [(flip_horizontally, 1), (flip_vertically, 0)])
def test_a_flip_mirrors_image_and_boxes(example, flip, axis):
    flipped = flip(example)
    np.testing.assert_array_equal(flipped["image"], np.flip(example["image"], axis))
    np.testing.assert_array_equal(crop(flipped), np.flip(crop(example), axis))
    np.testing.assert_array_equal(flipped["boxes"][1], BOXES[1])
    np.testing.assert_array_equal(flipped["labels"], example["labels"])
    for name, value in flip(flipped).items():
        np.testing.assert_array_equal(value, example[name])


@pytest.mark.parametrize("flip", [flip_horizontally, flip_vertically])
def test_an_image_without_boxes_can_be_flipped(example, flip):
    assert flip({**example, "boxes": tf.zeros((0, 4))})["boxes"].shape == (0, 4)


@pytest.mark.parametrize(
    "directions", [(), ("horizontal",), ("vertical",), ("horizontal", "vertical")]
)
def test_the_chosen_directions_are_flipped_half_of_the_time(example, directions):
    def run(seed):
        chosen = {name: name in directions for name in ("horizontal", "vertical")}
        flipped = random_flip(example, seed, **chosen)
        return {"seed": seed, "image": flipped["image"], "boxes": flipped["boxes"]}

    seeds = np.random.default_rng(0).integers(0, 2**31, (200, 2), np.int32)
    images = {
        (): example["image"],
        ("horizontal",): flip_horizontally(example)["image"],
        ("vertical",): flip_vertically(example)["image"],
        ("horizontal", "vertical"): flip_vertically(flip_horizontally(example))["image"],
    }
    counts = dict.fromkeys(images, 0)
    for result in tf.data.Dataset.from_tensor_slices(seeds).map(run).as_numpy_iterator():
        (made,) = (key for key, image in images.items() if np.array_equal(image, result["image"]))
        counts[made] += 1
    possible = [key for key in images if set(key) <= set(directions)]
    for key, count in counts.items():
        expected = 200 / len(possible) if key in possible else 0
        assert abs(count - expected) <= (30 if len(possible) > 1 else 0)


def test_one_seed_gives_one_result_eagerly_and_in_a_graph(example):
    def run(seed):
        return random_flip(example, seed, horizontal=True, vertical=True)["boxes"]

    seeds = [tf.constant([7, i]) for i in range(6)]
    eager = [run(seed).numpy() for seed in seeds]
    np.testing.assert_array_equal(eager, [tf.function(run)(seed) for seed in seeds])
    assert len({boxes.tobytes() for boxes in eager}) > 1
