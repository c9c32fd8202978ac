"""Which file an annotation means by the name that it gives an image."""

import os
from collections import defaultdict
from pathlib import Path

from keras_retinanet.data.images.address import is_in_file
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES, walk
from keras_retinanet.system.buckets.incoming import staged


class ImageFinder:
    """Finds images by the names in annotations, which may come from another computer.

    A name is tried as it is, relative to each of the folders; then with "/" for "\\". If no file is
    there, the files below the folders that have the same last part, letter case aside, are the
    candidates, of which the one with most parts in common is taken. A name without the suffix of an
    image may stand for a file with one. Each folder is listed once, however many names there are.

    Args:
        folders: where to look, the likeliest first.
        below: the one folder whose subfolders are searched; None: all of them.
    """

    def __init__(self, *folders: Path, below: Path | None = None) -> None:
        self._folders = [os.fspath(staged(folder)) for folder in dict.fromkeys(folders)]
        self._searched = self._folders if below is None else [os.fspath(staged(below))]
        self._listings: dict[str, frozenset[str]] = {}
        self._below: dict[str, list[str]] | None = None

    def find(self, name: str) -> str:
        """Return the path of an image; that in the first folder where there is none."""
        for folder in self._folders:
            path = os.path.join(folder, name)
            if self._is_file(path) or ("@" in name and is_in_file(path)):
                return path
        portable = name.replace("\\", "/")
        for folder in self._folders if portable != name else ():
            path = os.path.join(folder, portable)
            if self._is_file(path):
                return path
        found = self._candidates(portable)
        return found[0] if len(found) == 1 else os.path.join(self._folders[0], portable)

    def _is_file(self, path: str) -> bool:
        folder, base = os.path.split(path)
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder or "."))
            except (OSError, ValueError):  # a name with a zero in it
                self._listings[folder] = frozenset()
        return base in self._listings[folder]

    def _candidates(self, name: str) -> list[str]:
        """Return the files below the folders that end as `name` does; the best ones only."""
        if self._below is None:
            self._below = defaultdict(list)
            for path in _images_below(self._searched):
                base = os.path.basename(path).lower()
                self._below[base].append(path)
                self._below[os.path.splitext(base)[0]].append(path)
        wanted = [part for part in name.lower().split("/") if part]
        if not wanted:
            return []
        found = self._below.get(wanted[-1], [])
        scores = [_num_common(path.lower().split(os.sep)[:-1], wanted[:-1]) for path in found]
        return [path for path, score in zip(found, scores, strict=True) if score == max(scores)]


def _images_below(folders: list[str]) -> list[str]:
    """Return the image files in folders and their subfolders, each once, hidden ones left out."""
    paths: dict[str, None] = {}
    for top in folders:
        for folder, names in walk(top):
            for name in names:
                if name.lower().endswith(IMAGE_SUFFIXES):
                    paths[os.path.normpath(os.path.join(folder, name))] = None
    return list(paths)


def _num_common(parts: list[str], others: list[str]) -> int:
    """Return how many parts two paths have in common at their ends."""
    count = 0
    for part, other in zip(reversed(parts), reversed(others), strict=False):
        if part != other:
            break
        count += 1
    return count
