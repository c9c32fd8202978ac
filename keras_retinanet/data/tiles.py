"""A data set of tiles: large images cut into pieces, each an image of its own with its objects."""

from dataclasses import replace

import numpy as np

from keras_retinanet.data.dataset import DetectionDataset, Finding
from keras_retinanet.data.images.address import image_name
from keras_retinanet.geometry.tiling import Tiling

# Pixels; what is left of a narrower object is nothing to see, and no region to ignore.
MIN_SIDE = 1.0


def cut_into_tiles(
    dataset: DetectionDataset, tiling: Tiling, *, min_visible: float
) -> DetectionDataset:
    """Return the data set whose images are the tiles of a data set's images, in their order.

    An object is part of every tile that it lies in, cut to it. Where less of it than `min_visible`
    is left, that is a region to ignore: neither object nor background. So many are counted in the
    findings, by image. Regions to ignore are cut likewise.

    Args:
        min_visible: share of an object's area.
    """
    tiles = [tiling.tiles(int(h), int(w)) for h, w in zip(dataset.heights, dataset.widths)]
    images = np.repeat(np.arange(len(dataset)), [len(each) for each in tiles])
    windows = np.concatenate([np.zeros((0, 4), np.int64), *tiles]).astype(np.int32)
    rows, boxes, visible, counts = _objects(dataset, images, windows)
    sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    lost = ~dataset.is_ignored[rows] & ((visible < min_visible) | (sides < MIN_SIDE))
    of_tile = np.repeat(np.arange(len(images)), counts)
    whole = visible >= 1
    return replace(
        dataset,
        image_paths=[dataset.image_paths[i] for i in images],
        image_ids=[
            f"{dataset.image_ids[i]}@{window[0]},{window[1]}"
            for i, window in zip(images.tolist(), windows.tolist())
        ],
        heights=(windows[:, 3] - windows[:, 1]).astype(np.int32),
        widths=(windows[:, 2] - windows[:, 0]).astype(np.int32),
        row_splits=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=boxes.astype(np.float32),
        labels=dataset.labels[rows],
        is_ignored=dataset.is_ignored[rows] | lost,
        # Of a cut object, the part of its area that is its box's.
        areas=np.where(whole, dataset.areas[rows], dataset.areas[rows] * visible).astype(
            np.float32
        ),
        findings=dataset.findings + _findings(dataset, images[of_tile[lost]], min_visible),
        repeats=None if dataset.repeats is None else dataset.repeats[images],
        windows=windows,
    )


def _objects(
    dataset: DetectionDataset, images: np.ndarray, windows: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return, tile by tile, the rows of the boxes in it, those boxes in its pixels, which share of
    each is visible, and how many there are in each tile."""
    all_rows, all_boxes, all_visible, counts = [], [], [], []
    for image, window in zip(images.tolist(), windows):
        of_image = dataset.rows(image)
        boxes = dataset.boxes[of_image].astype(np.float64)
        low = np.maximum(boxes[:, :2], window[:2])
        high = np.minimum(boxes[:, 2:], window[2:])
        is_inside = (high > low).all(axis=1)
        area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
        visible = np.maximum(high - low, 0).prod(axis=1) / area
        all_rows.append(of_image.start + np.flatnonzero(is_inside))
        all_boxes.append(np.concatenate([low, high], axis=1)[is_inside] - np.tile(window[:2], 2))
        all_visible.append(visible[is_inside])
        counts.append(int(is_inside.sum()))
    return (
        np.concatenate([np.zeros(0, np.int64), *all_rows]),
        np.concatenate([np.zeros((0, 4)), *all_boxes]),
        np.concatenate([np.zeros(0), *all_visible]),
        np.array(counts, np.int64),
    )


def _findings(dataset: DetectionDataset, images: np.ndarray, min_visible: float) -> list[Finding]:
    """Return a finding for each image with objects that tiles have cut too much."""
    counts = np.bincount(images, minlength=len(dataset))
    return [
        Finding(
            f"objects of which a tile has less than {min_visible:.0%}",
            f"{image_name(dataset.image_paths[i])}: {counts[i]}",
            "ignored in that tile",
        )
        for i in np.flatnonzero(counts)
    ]
