"""The image files of a split and what reading them gave, as arrays: millions fit into memory."""

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from keras_retinanet.data.checks.finding_list import FindingList, Kind
from keras_retinanet.data.images.scan import LOOK_BITS, ScannedImage

DIGEST_BYTES = 16
_LOOK_BYTES = LOOK_BITS // 8


class SplitImages:
    """n image files of a split.

    Attributes:
        split: its name.
        paths: n files.
        digests: [n] bytes, of the files' contents; empty for a file that cannot be read.
        looks: [m, LOOK_BITS / 8] uint8, how those m images look that have a look, packed.
        with_looks: [m], which images these are.
        damaged: [d], the images that cannot be used.
    """

    def __init__(self, split: str, paths: Sequence[str], scanned: Iterable[ScannedImage]) -> None:
        self.split = split
        self.paths = paths
        self.digests = np.zeros(len(paths), f"S{DIGEST_BYTES}")
        with_looks, damaged, looks = array("i"), array("i"), bytearray()
        self._remarks = _Remarks()
        for i, image in enumerate(scanned):
            self.digests[i] = image.digest
            for remark in image.remarks:
                self._remarks.add(i, (remark, "noted"))
            if image.fault:
                self._remarks.add(i, (image.fault, "image skipped"))
                damaged.append(i)
            if image.look is not None:
                with_looks.append(i)
                looks += np.packbits(image.look).tobytes()
        self.with_looks = np.array(with_looks, np.int64)
        self.looks = np.frombuffer(looks, np.uint8).reshape(-1, _LOOK_BYTES)
        self.damaged = np.array(damaged, np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def findings(self) -> FindingList:
        """Return what is remarkable about the files, or wrong with them."""
        return self._remarks.findings(self.paths)

    def real_path(self, image: int) -> str:
        """Return the path of an image without links."""
        return real_path(self.paths[image])


class _Remarks:
    """Remarks on images, as numbers."""

    def __init__(self) -> None:
        self._code_of: dict[Kind, int] = {}
        self._codes, self._images = array("H"), array("i")

    def add(self, image: int, kind: Kind) -> None:
        self._codes.append(self._code_of.setdefault(kind, len(self._code_of)))
        self._images.append(image)

    def findings(self, paths: Sequence[str]) -> FindingList:
        found = FindingList()
        codes, images = np.array(self._codes), np.array(self._images)
        found.add_many(list(self._code_of), codes, images, paths.__getitem__)
        return found


def real_path(path: str) -> str:
    """Return a path without links, as `os.path.realpath` does, but faster in folders of many."""
    folder, name = os.path.split(path)
    if name in ("", ".", ".."):
        return os.path.realpath(path)
    folder = _real_folder(os.path.join(os.getcwd(), folder))
    found = os.path.join(folder, name)
    if os.path.islink(found):
        target, name = os.path.split(os.path.join(folder, os.readlink(found)))
        found = os.path.join(_real_folder(target), name)
        if name in ("", ".", "..") or os.path.islink(found):
            return os.path.realpath(path)
    return path if found == path else found


@lru_cache(maxsize=64)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


class PathSet:
    """Paths that can be asked for, and no more: their digests in order."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._digests = np.unique(_digests(paths))

    def __len__(self) -> int:
        return len(self._digests)

    def holds(self, paths: Sequence[str]) -> np.ndarray:
        """Return whether each path is in the set [n] bool."""
        return _is_in(_digests(paths), self._digests)

    def is_above(self, other: "PathSet") -> bool:
        """Whether this has all paths of another, and more."""
        return len(self) > len(other) and bool(_is_in(other._digests, self._digests).all())


def _is_in(digests: np.ndarray, known: np.ndarray) -> np.ndarray:
    if not len(known):
        return np.zeros(len(digests), bool)
    places = np.searchsorted(known, digests)
    return known[np.minimum(places, len(known) - 1)] == digests


def _digests(paths: Iterable[str]) -> np.ndarray:
    return np.fromiter(_each_digest(paths), f"S{DIGEST_BYTES}")


def _each_digest(paths: Iterable[str]) -> Iterator[bytes]:
    for path in paths:
        text = path.encode("utf-8", "surrogatepass")
        yield hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()
