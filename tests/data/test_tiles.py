"""A data set of tiles: windows of its images, with the objects in them."""

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config.load import load_config
from keras_retinanet.data.dataset import ANY_CLASS, DetectionDataset
from keras_retinanet.data.pipeline.cache import DiskCache, MemoryCache
from keras_retinanet.data.tiles import cut_into_tiles
from keras_retinanet.geometry.tiling import Tiling
from keras_retinanet.training.setup.input_batches import make_batches, make_plan, training_images
from keras_retinanet.training.setup.model_and_loss import build_model

HEIGHT, WIDTH = 60, 150
WHOLE, CUT, MOSTLY = (10, 10, 30, 40), (56, 10, 66, 40), (40, 5, 62, 25)
REGION = (100, 0, 150, 60)


@pytest.fixture
def dataset(tmp_path):
    paths = []
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(pixels).save(paths[-1])
    boxes = np.array([WHOLE, CUT, MOSTLY, REGION], np.float32)
    return DetectionDataset(
        image_paths=paths,
        image_ids=[7, 8],
        heights=np.full(2, HEIGHT, np.int32),
        widths=np.full(2, WIDTH, np.int32),
        row_splits=np.array([0, 4, 4]),
        boxes=boxes,
        labels=np.array([0, 1, 1, ANY_CLASS], np.int32),
        is_ignored=np.array([False, False, False, True]),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        class_names=("a", "b"),
        category_ids=(1, 2),
    )


# Two images of 60 x 150: tiles begin at 0, 45 and 90.
TILING = Tiling(60, 0.25)


def test_objects_of_tiles_by_hand(dataset):
    tiles = cut_into_tiles(dataset, TILING, min_visible=0.5)
    assert tiles.windows[:3].tolist() == [[0, 0, 60, 60], [45, 0, 105, 60], [90, 0, 150, 60]]
    assert tiles.image_ids == ["7@0,0", "7@45,0", "7@90,0", "8@0,0", "8@45,0", "8@90,0"]
    assert tiles.row_splits.tolist() == [0, 3, 6, 7, 7, 7, 7]
    assert (tiles.heights.tolist(), tiles.widths.tolist()) == ([60] * 6, [60] * 6)
    first = tiles.rows(0)
    # 4 of 10 columns of CUT, and 20 of 22 of MOSTLY.
    assert tiles.boxes[first].tolist() == [[10, 10, 30, 40], [56, 10, 60, 40], [40, 5, 60, 25]]
    assert tiles.is_ignored[first].tolist() == [False, True, False]
    assert tiles.areas[first].tolist() == pytest.approx([600, 120, 400])
    second = tiles.rows(1)
    assert tiles.boxes[second].tolist() == [[11, 10, 21, 40], [0, 5, 17, 25], [55, 0, 60, 60]]
    assert tiles.is_ignored[second].tolist() == [False, False, True]
    assert tiles.labels[second].tolist() == [1, 1, ANY_CLASS]
    assert tiles.boxes[tiles.rows(2)].tolist() == [[10, 0, 60, 60]]


def test_cut_objects_are_counted(dataset):
    (finding,) = cut_into_tiles(dataset, TILING, min_visible=0.5).findings
    assert finding.problem == "objects of which a tile has less than 50%"
    assert (finding.where, finding.action) == ("0.png: 1", "ignored in that tile")
    assert cut_into_tiles(dataset, TILING, min_visible=0.3).findings == []


def test_objects_no_larger_than_the_overlap_are_whole_in_a_tile(dataset):
    tiles = cut_into_tiles(dataset, Tiling(60, 0.5), min_visible=0.5)
    objects = tiles.areas[~tiles.is_ignored]
    for area in dataset.areas[~dataset.is_ignored]:
        assert np.isclose(objects, area).any()


def test_images_no_larger_than_a_tile_stay(dataset):
    tiles = cut_into_tiles(dataset, Tiling(200), min_visible=0.5)
    assert len(tiles) == 2
    np.testing.assert_array_equal(tiles.boxes, dataset.boxes)
    np.testing.assert_array_equal(tiles.areas, dataset.areas)


def test_pixels_and_choices(dataset):
    tiles = cut_into_tiles(dataset, TILING, min_visible=0.5)
    whole = dataset.read_image(0)
    np.testing.assert_array_equal(tiles.read_image(1), whole[:, 45:105])
    chosen = tiles.select([4, 1])
    np.testing.assert_array_equal(chosen.read_image(1), whole[:, 45:105])
    assert tiles.fingerprint() != dataset.fingerprint()


@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
def test_batches_of_tiles(dataset, tmp_path, cache):
    config = load_config(
        "quickstart",
        [
            "image.tile={size: 60, overlap: 0.25}",
            "image.resize=square",
            "image.size=64",
            "training.batch_size=3",
            f"training.cache={cache}",
            f"training.cache_folder={tmp_path / 'cache'}",
            "image.horizontal_flip=false",
            "image.vertical_flip=false",
            "augment.preset=paper",
        ],
    )
    tiles = training_images(config, dataset)
    assert len(tiles) == 6
    plan = make_plan(config, tiles)
    stream = make_batches(config, tiles, plan).as_numpy_iterator()
    for epoch in range(2):  # the second comes out of the cache
        for step in range(plan.steps_per_epoch):
            images, targets = next(stream)
            for row, index in enumerate(plan.batch(epoch, step)):
                pixels = np.asarray(
                    Image.fromarray(tiles.read_image(int(index))).resize(
                        (64, 64), Image.Resampling.BILINEAR
                    )
                )
                error = np.abs(images[row].astype(int) - pixels)[2:-2, 2:-2].mean()
                assert error < 12, (epoch, index)  # other tiles of noise differ by 60 and more
                rows = tiles.rows(int(index))
                expected = tiles.boxes[rows][~tiles.is_ignored[rows]] * (64 / 60)
                is_object = targets["gt_labels"][row] >= 0
                np.testing.assert_allclose(targets["gt_boxes"][row][is_object], expected, atol=1e-3)


def test_caches_tell_tiles_of_one_file_apart(dataset, tmp_path):
    tiles = cut_into_tiles(dataset, TILING, min_visible=0.5)
    disk, memory = DiskCache(tiles, tmp_path / "cache"), MemoryCache(tiles)
    assert len(set(disk.files)) == 6
    for cache in (disk, memory):
        for i in range(6):
            cache.put(i, tiles.read_image(i))
        for i in range(6):
            np.testing.assert_array_equal(cache.get(i), tiles.read_image(i))


def test_the_config_reaches_the_model(small_resnet18):
    config = load_config(
        "quickstart", ["image.tile={size: 60, overlap: 0.25}", "model.weights=none"]
    )
    assert build_model(config, ("a",)).tiling == Tiling(60, 0.25)
    assert load_config("quickstart").image.tile is None
