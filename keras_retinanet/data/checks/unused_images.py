"""Image files that lie beside those of a data set, and are in none of its splits."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from keras_retinanet.data.checks.split_images import PathSet
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES

# Names of a folder that are looked up together.
_NAMES_AT_ONCE = 10_000


class UsedImages:
    """Images that annotations name, by their absolute paths."""

    def __init__(self, paths: Iterable[Sequence[str]]) -> None:
        self.folders: set[str] = set()
        self.paths = PathSet(self._absolute(itertools.chain.from_iterable(paths)))

    def _absolute(self, paths: Iterable[str]) -> Iterator[str]:
        for path in paths:
            absolute = os.path.abspath(path)
            self.folders.add(os.path.dirname(absolute))
            yield absolute


def unused_images(used: Sequence[UsedImages]) -> Iterator[Finding]:
    """Yield the images that lie beside used ones and are in no split."""
    for folder in sorted({folder for one in used for folder in one.folders}):
        if not os.path.isdir(folder):
            continue
        unused: list[str] = []
        with os.scandir(folder) as entries:
            names = (e.name for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES))
            while block := list(itertools.islice(names, _NAMES_AT_ONCE)):
                paths = [os.path.join(folder, name) for name in block]
                is_used = np.zeros(len(block), bool)
                for one in used:
                    is_used |= one.paths.holds(paths)
                unused += [name for name, is_one in zip(block, is_used) if not is_one]
        for name in sorted(unused):
            yield Finding("image that is in no split", os.path.join(folder, name), "noted")
