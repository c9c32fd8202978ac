"""Tiles of an image: that they cover it, overlap enough, and share its objects among them."""

import numpy as np
import pytest

from keras_retinanet.geometry.tiling import WHOLE_IMAGES, Tiling


@pytest.mark.parametrize("overlap", [0, 0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("size", [32, 100, 333])
def test_tiles_cover_a_side_and_overlap_enough(size, overlap):
    tiling = Tiling(size, overlap)
    for length in (1, size - 1, size, size + 1, 2 * size, 1234, 4000):
        starts = tiling.starts(length)
        if length <= size:
            assert starts.tolist() == [0]
            continue
        assert starts[0] == 0 and starts[-1] + size == length
        assert (np.diff(starts) > 0).all()
        assert (starts[:-1] + size - starts[1:] >= min(size - 1, size * overlap)).all()
        # As few as that takes.
        step = max(1, int(size - np.ceil(size * overlap)))
        assert len(starts) == -(-(length - size) // step) + 1


def test_tiles_of_an_image():
    tiles = Tiling(100, 0.2).tiles(height=90, width=250)
    assert tiles.tolist() == [[0, 0, 100, 90], [75, 0, 175, 90], [150, 0, 250, 90]]
    assert len(Tiling(800).tiles(3000, 4000)) == 5 * 6
    assert WHOLE_IMAGES.tiles(3000, 4000).tolist() == [[0, 0, 4000, 3000]]


def visible(boxes, tile):
    """What a perfect detector finds in a tile: every object's part, in pixels of the image."""
    low, high = np.maximum(boxes[:, :2], tile[:2]), np.minimum(boxes[:, 2:], tile[2:])
    inside = (high > low).all(axis=1)
    return np.flatnonzero(inside), np.concatenate([low, high], axis=1)[inside]


@pytest.mark.parametrize(("size", "overlap"), [(100, 0.3), (200, 0.2), (128, 0.5)])
def test_small_objects_are_left_whole_and_by_one_tile_at_least(size, overlap):
    tiling, height, width = Tiling(size, overlap), 517, 733
    edge = max(2.0, 0.02 * size)
    largest = size * overlap - 3 * edge
    rng = np.random.default_rng(0)
    sides = rng.uniform(2, largest, (4000, 2))
    corners = rng.uniform(0, 1, (4000, 2)) * ((width, height) - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1)
    times, whole = np.zeros(len(boxes), int), np.ones(len(boxes), bool)
    for tile in tiling.tiles(height, width):
        rows, parts = visible(boxes, tile)
        kept = ~tiling.seen_better(parts, tile, height, width)
        times[rows[kept]] += 1
        whole[rows[kept]] &= np.abs(parts[kept] - boxes[rows[kept]]).max(axis=1) < 1e-9
    assert (times >= 1).all()
    assert whole.all()


def test_of_a_large_object_no_part_is_lost():
    """Together, the parts that are left cover all of it."""
    tiling, height, width = Tiling(100, 0.2), 400, 400
    box = np.array([[130.0, 40.0, 310.0, 330.0]])
    covered = np.zeros((height, width), bool)
    for tile in tiling.tiles(height, width):
        _, parts = visible(box, tile)
        parts = parts[~tiling.seen_better(parts, tile, height, width)]
        for x1, y1, x2, y2 in parts.astype(int):
            covered[y1:y2, x1:x2] = True
    assert covered[40:330, 130:310].all()


def test_edges_of_the_image_cut_nothing():
    tiling = Tiling(100, 0.2)
    tile = np.array([0, 0, 100, 100])
    boxes = np.array([[0.0, 0.0, 15.0, 15.0], [85.0, 40.0, 100.0, 55.0]])
    assert tiling.seen_better(boxes, tile, 100, 180).tolist() == [False, True]
    assert tiling.is_cut(boxes, tile, 100, 180).tolist() == [False, True]
    assert not tiling.is_cut(boxes, tile, 100, 100).any()


def test_without_overlap_every_part_stays():
    tiling, tile = Tiling(100, 0), np.array([0, 0, 100, 100])
    boxes = np.array([[90.0, 40.0, 100.0, 50.0]])
    assert not tiling.seen_better(boxes, tile, 100, 200).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 31}, "32 pixels or more, got 31"),
        ({"size": 100.5}, "32 pixels or more, got 100.5"),
        ({"size": 100, "overlap": 0.95}, "between 0 and 0.9, got 0.95"),
        ({"overlap": -0.1}, "between 0 and 0.9, got -0.1"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Tiling(**settings)
