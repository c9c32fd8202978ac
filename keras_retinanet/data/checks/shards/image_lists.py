"""The lists of images that a check looks at, one for each file of annotations, in batches."""

import hashlib
import os
from collections.abc import Iterable, Sequence

# Of a process that is killed, at most so many images are read again.
BATCH_SIZE = 100


class ImageLists:
    """Lists of images, with batches that are numbered from one list to the next.

    Args:
        described: of each list, its digest and its length.
        folder: the data set's; images below it are known by their places in it, so that it may lie
            elsewhere on another machine.

    Attributes:
        num_images, num_batches: of all lists.
    """

    def __init__(self, described: Iterable[Sequence], folder: str) -> None:
        self._folder = os.path.join(folder, "")
        self.described: list[list] = []
        self._starts: dict[str, int] = {}
        self._first_images: list[int] = []
        self.num_images = 0
        for digest, length in described:
            self._add(digest, length)

    @property
    def num_batches(self) -> int:
        return len(self._first_images)

    def add(self, paths: Sequence[str]) -> dict[int, slice]:
        """Add a list; return which of its images each of its batches holds."""
        first = self.num_batches
        self._add(self._digest(paths), len(paths))
        return {
            first + i: slice(start, start + BATCH_SIZE)
            for i, start in enumerate(range(0, len(paths), BATCH_SIZE))
        }

    def first_image(self, batch: int) -> int | None:
        """Return the number of a batch's first image among those of all lists; None of a batch
        behind them."""
        return self._first_images[batch] if batch < self.num_batches else None

    def start(self, paths: Sequence[str]) -> int | None:
        """Return the number of a list's first image; None if there is no such list."""
        return self._starts.get(self._digest(paths))

    def _add(self, digest: str, length: int) -> None:
        self.described.append([digest, length])
        self._starts[digest] = self.num_images
        self._first_images += range(self.num_images, self.num_images + length, BATCH_SIZE)
        self.num_images += length

    def _digest(self, paths: Sequence[str]) -> str:
        digest = hashlib.sha256()
        for path in paths:
            digest.update(path.removeprefix(self._folder).encode("utf-8", "surrogatepass") + b"\n")
        return digest.hexdigest()[:16]
