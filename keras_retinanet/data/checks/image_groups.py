"""Images that belong together: copies of one picture, which no two splits may share."""

import functools
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np

from keras_retinanet.data.checks.duplicates import MAX_LOOK_DISTANCE
from keras_retinanet.data.images.address import file_of
from keras_retinanet.data.images.scan import LOOK_BITS, scan_images
from keras_retinanet.errors import DataError

# What makes copies of images: how they look, or the bytes of their files alone.
GroupBy = Literal["looks", "bytes"]
# Each image is compared with each: of more, that takes minutes.
MAX_COMPARED = 200_000
_BLOCK = 1024


def group_images(paths: Sequence[str], by: GroupBy) -> np.ndarray:
    """Return the number of each image's group [N]: that of its first image.

    A group holds the images with the same bytes and, by looks, those that look alike, from one to
    the next. Damaged files and flat pictures look like no other.

    Raises:
        DataError: there are too many images to compare how they look.
    """
    if by == "looks" and len(paths) > MAX_COMPARED:
        raise DataError(
            f"{len(paths):,} images are too many to compare how they look (at most "
            f"{MAX_COMPARED:,}): keep only copies together, by --groups bytes or val_groups: bytes"
        )
    # Both parts of a split are read one after the other.
    return _grouped(tuple(paths), tuple(map(_stat, paths)), by)


@functools.lru_cache(maxsize=2)
def _grouped(paths: tuple[str, ...], stats: tuple[object, ...], by: GroupBy) -> np.ndarray:
    scanned = scan_images(paths, with_looks=by == "looks")
    groups = np.arange(len(paths))
    first: dict[bytes, int] = {}
    for i, image in enumerate(scanned):
        if image.digest:
            groups[i] = first.setdefault(image.digest, i)
    with_looks = [i for i in np.unique(groups).tolist() if scanned[i].look is not None]
    if with_looks:
        looks = np.stack([scanned[i].look for i in with_looks])
        _join_lookalikes(groups, np.array(with_looks), looks)
    groups.flags.writeable = False
    return groups


def _join_lookalikes(groups: np.ndarray, images: np.ndarray, looks: np.ndarray) -> None:
    """Join the groups of images whose looks are close, in place.

    Args:
        images: [M], the images that the looks [M, LOOK_BITS] are of.
    """
    signs = looks.astype(np.float32) * 2 - 1  # a product is the bits that agree less the others
    for start in range(0, len(signs), _BLOCK):
        rows = slice(start, start + _BLOCK)
        for other in range(start, len(signs), _BLOCK):
            columns = images[other : other + _BLOCK]
            agreement = signs[rows] @ signs[other : other + _BLOCK].T
            is_close = agreement >= LOOK_BITS - 2 * MAX_LOOK_DISTANCE
            for i in np.flatnonzero(is_close.any(axis=1)):
                close = np.unique(groups[columns[is_close[i]]])
                own = groups[images[start + i]]
                if (close != own).any():
                    joined = np.append(close, own)
                    groups[np.isin(groups, joined)] = joined.min()


def _stat(path: str) -> tuple[int, int] | None:
    """Return what changes with a file."""
    try:
        found = os.stat(file_of(path))
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
