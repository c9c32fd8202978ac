"""Decoded images kept for the epochs to come: in memory, or as files.

They fill up as images are first seen, and the pixels are those of the decoder, so that batches stay
the same. tf.data's `cache` keeps a stream, which has to be read to its end, and no images by index.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.images.address import file_of
from keras_retinanet.errors import ConfigError
from keras_retinanet.system.atomic_files import whole_file
from keras_retinanet.system.memory import free_memory

# Of the memory or the disk that is free, this share may be filled.
MAX_SHARE_OF_FREE = 0.8


class ImageCache(Protocol):
    """Where decoded images are kept, by index in the data set."""

    def get(self, index: int) -> np.ndarray | None:
        """Return an image uint8 [H, W, 3], or None if it was not kept yet."""

    def put(self, index: int, image: np.ndarray) -> None:
        """Keep an image."""


class MemoryCache:
    """Images in this process' memory.

    Raises:
        ConfigError: the data set's images do not fit.
    """

    def __init__(self, dataset: DetectionDataset) -> None:
        _check_room(dataset, free_memory(), "memory", "disk, or none")
        self._images: dict[int, np.ndarray] = {}

    def get(self, index: int) -> np.ndarray | None:
        return self._images.get(index)

    def put(self, index: int, image: np.ndarray) -> None:
        self._images[index] = image.copy()  # what comes is TensorFlow's buffer


class DiskCache:
    """Images as .npy files in a folder, used again by later runs as long as the image is the same.

    Args:
        folder: made if it does not exist; several data sets may share it.

    Raises:
        ConfigError: the data set's images do not fit.
    """

    def __init__(self, dataset: DetectionDataset, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files = [
            folder / f"{_fingerprint(path)}{part}.npy"
            for path, part in zip(dataset.image_paths, _parts(dataset), strict=True)
        ]
        missing = [i for i, file in enumerate(self.files) if not file.exists()]
        _check_room(dataset.select(missing), shutil.disk_usage(folder).free, "disk", "none")

    def get(self, index: int) -> np.ndarray | None:
        try:
            return np.load(self.files[index])
        except (FileNotFoundError, ValueError, EOFError):  # not there, or not a whole file
            return None

    def put(self, index: int, image: np.ndarray) -> None:
        # Other processes, and runs after one that was killed, see whole files.
        with whole_file(self.files[index], suffix=".npy") as unfinished:
            np.save(unfinished, image)


def default_folder() -> Path:
    """Return the folder in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "keras_retinanet" / "images"


def cached_image(cache: ImageCache | None, index: Tensor, decode: Callable[[], Tensor]) -> Tensor:
    """Return the image uint8 [H, W, 3] that `decode` gives, from the cache where it is there."""
    if cache is None:
        return decode()

    def get(index: np.ndarray) -> np.ndarray:
        image = cache.get(int(index))
        return np.zeros((0, 0, 3), np.uint8) if image is None else image

    def put(index: np.ndarray, image: np.ndarray) -> np.ndarray:
        cache.put(int(index), image)
        return image

    def fill() -> Tensor:
        image = tf.numpy_function(put, [index, decode()], tf.uint8)
        return tf.ensure_shape(image, (None, None, 3))

    kept = tf.ensure_shape(tf.numpy_function(get, [index], tf.uint8), (None, None, 3))
    return tf.cond(tf.size(kept) > 0, lambda: kept, fill)


def _check_room(dataset: DetectionDataset, free: int, place: str, mend: str) -> None:
    needed = 3 * int(np.sum(dataset.heights.astype(np.int64) * dataset.widths))
    if needed > MAX_SHARE_OF_FREE * free:
        raise ConfigError(
            f"training.cache = {place}: the {len(dataset)} decoded images have {needed / 1e9:.1f} "
            f"GB, and {free / 1e9:.1f} GB are free: set training.cache to {mend}"
        )


def _parts(dataset: DetectionDataset) -> list[str]:
    """Return what tells the tiles of a file apart."""
    if dataset.windows is None:
        return [""] * len(dataset)
    return [f"-{'-'.join(map(str, window))}" for window in dataset.windows.tolist()]


def _fingerprint(path: str) -> str:
    """Return a name that changes with the file's place, size and time of change."""
    status = os.stat(file_of(path))
    text = f"{os.path.abspath(path)}|{status.st_size}|{status.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
