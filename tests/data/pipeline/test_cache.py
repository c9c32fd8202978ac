from itertools import islice

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.images.decoding import decode_image
from keras_retinanet.data.pipeline import cache as module
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.cache import DiskCache, MemoryCache, cached_image
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.errors import ConfigError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy

ANCHORS = AnchorGenerator(levels=(3, 5), sizes=(24, 64))


@pytest.fixture
def dataset(coco, picture):
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8)
        coco.add_image(f"{i}.png", content=picture(pixels=pixels, kind="PNG"))
        coco.add_box(f"{i}.png", (5, 5, 40, 40))
    return coco.load()


@pytest.fixture(params=["memory", "disk"])
def make_cache(request, tmp_path_factory):
    """A function: data set -> a cache; on disk always in the same folder."""
    if request.param == "memory":
        return MemoryCache
    folder = tmp_path_factory.mktemp("cache") / "images"
    return lambda dataset: DiskCache(dataset, folder)


def batches_of(dataset, cache, count=6):
    policy = InputPolicy("square", size=64)
    plan = TrainingPlan(dataset.heights, dataset.widths, policy, 2)
    stream = training_batches(dataset, plan, anchor_generator=ANCHORS, cache=cache)
    return [images for images, _ in islice(stream.as_numpy_iterator(), count)]


def test_batches_are_the_same_and_later_ones_need_no_files(dataset, make_cache, coco):
    cache = make_cache(dataset)
    assert cache.get(0) is None
    expected = batches_of(dataset, None)  # two epochs
    for a, b in zip(batches_of(dataset, cache), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    for i, path in enumerate(dataset.image_paths):
        np.testing.assert_array_equal(cache.get(i), tf.io.decode_png(tf.io.read_file(path)))
    for path in coco.image_folder.iterdir():
        path.write_bytes(b"gone")
    for a, b in zip(batches_of(dataset, cache), expected, strict=True):
        np.testing.assert_array_equal(a, b)


class TestDisk:
    def test_a_later_run_finds_the_images(self, dataset, tmp_path):
        DiskCache(dataset, tmp_path / "c").put(3, np.full((2, 3, 3), 7, np.uint8))
        again = DiskCache(dataset.select([3, 0]), tmp_path / "c")
        np.testing.assert_array_equal(again.get(0), np.full((2, 3, 3), 7))
        assert again.get(1) is None

    def test_a_changed_image_is_decoded_again(self, dataset, tmp_path, picture):
        DiskCache(dataset, tmp_path / "c").put(0, np.zeros((2, 3, 3), np.uint8))
        with open(dataset.image_paths[0], "ab") as file:
            file.write(b" ")
        assert DiskCache(dataset, tmp_path / "c").get(0) is None

    def test_a_damaged_file_is_made_again(self, dataset, tmp_path):
        cache = DiskCache(dataset, tmp_path / "c")
        image = tf.io.decode_png(tf.io.read_file(dataset.image_paths[1])).numpy()
        for damage in (b"", b"text", b"\x93NUMPY"):
            cache.files[1].write_bytes(damage)
            made = cached_image(
                cache,
                tf.constant(1, tf.int64),
                lambda: decode_image(tf.io.read_file(dataset.image_paths[1])),
            )
            np.testing.assert_array_equal(made, image)
            np.testing.assert_array_equal(cache.get(1), image)

    def test_nothing_but_whole_files_is_left(self, dataset, tmp_path):
        cache = DiskCache(dataset, tmp_path / "c")
        batches_of(dataset, cache)
        assert sorted((tmp_path / "c").iterdir()) == sorted(cache.files)


def test_images_that_do_not_fit_are_refused(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 5 * 64 * 48 * 3)
    with pytest.raises(ConfigError, match=r"training.cache = memory: the 5 .* to disk, or none"):
        MemoryCache(dataset)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("", (), {"free": 1000}))
    with pytest.raises(ConfigError, match=r"training\.cache = disk"):
        DiskCache(dataset, tmp_path / "c")
