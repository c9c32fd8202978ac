"""The same image twice: within a split, or in two splits, where it spoils the measuring."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from keras_retinanet.data.checks.finding_list import FindingList
from keras_retinanet.data.checks.split_images import PathSet, SplitImages
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.scan import LOOK_BITS

# Images whose looks differ in at most this many of LOOK_BITS cells are shown to their owner.
MAX_LOOK_DISTANCE = 10
# Looks this close agree in one of as many bands and one: only those have to be compared.
_BAND_BITS = 16
# A band that more images than this share says nothing (a studio's background).
_MAX_BAND = 200

LEAKAGE = "image in two splits: it inflates the scores"
_KINDS = (
    (LEAKAGE, "leave it in one split"),
    ("image file listed twice in a split", "list it once"),
    ("same image twice in a split", "remove one"),
)
_LEAKS, _LISTED_TWICE, _SAME = range(len(_KINDS))


class _Images:
    """The images of several splits, numbered one after the other."""

    def __init__(self, splits: Sequence[SplitImages]) -> None:
        self._splits = splits
        self._starts = np.cumsum([0, *map(len, splits)])

    def of(self, number: int) -> tuple[str, str]:
        """Return the split and the path without links of an image."""
        split = self.split_of(number)
        images = self._splits[split]
        return images.split, images.real_path(number - int(self._starts[split]))

    def split_of(self, number: int) -> int:
        return int(np.searchsorted(self._starts, number, side="right")) - 1

    def places(self, number: int, other: int) -> str:
        (split, path), (other_split, other_path) = self.of(number), self.of(other)
        if path == other_path:
            return f"{path}: in {other_split} and in {split}"
        return f"{path}: of {split}, the same as {other_path} of {other_split}"

    def numbers(self, split: int) -> np.ndarray:
        return np.arange(self._starts[split], self._starts[split + 1])


def find_duplicates(splits: Sequence[SplitImages]) -> FindingList:
    """Return a finding for each image that was there before: by its path, or its content."""
    findings = FindingList()
    if not splits:
        return findings
    images = _Images(splits)
    digests = np.concatenate([split.digests for split in splits])
    read = np.flatnonzero(digests != b"")
    _, first, group = np.unique(digests[read], return_index=True, return_inverse=True)
    others = read[first][group]  # of each image, the first one with its content
    is_copy = others != read
    copies, others = read[is_copy], others[is_copy]
    first_of = lru_cache(images.of)  # many may be copies of one
    codes = np.zeros(len(copies), np.uint8)
    for i, (copy, other) in enumerate(zip(copies.tolist(), others.tolist(), strict=True)):
        if images.split_of(copy) != images.split_of(other):
            codes[i] = _LEAKS
        else:
            codes[i] = _LISTED_TWICE if images.of(copy) == first_of(other) else _SAME
    # Of a file that is listed many times, one finding says all.
    listed = np.flatnonzero(codes == _LISTED_TWICE)
    again = np.setdiff1d(listed, listed[np.unique(others[listed], return_index=True)[1]])
    copies, others, codes = (np.delete(each, again) for each in (copies, others, codes))

    def where(i: int) -> str:
        if codes[i] == _LISTED_TWICE:
            return images.of(int(copies[i]))[1]
        return images.places(int(copies[i]), int(others[i]))

    findings.add_many(_KINDS, codes, np.arange(len(copies)), where)
    return findings


def find_lookalikes(splits: Sequence[SplitImages]) -> list[Finding]:
    """Return a finding for each image that looks like one of another split, in other bytes."""
    if sum(len(split.looks) for split in splits) < 2:
        return []
    images = _Images(splits)
    numbers = np.concatenate([images.numbers(i)[s.with_looks] for i, s in enumerate(splits)])
    digests = np.concatenate([split.digests[split.with_looks] for split in splits])
    looks = np.concatenate([split.looks for split in splits])
    bands = looks.reshape(len(looks), LOOK_BITS // _BAND_BITS, _BAND_BITS // 8)
    findings: list[Finding] = []
    seen: set[str] = set()
    for band in bands.transpose(1, 0, 2):
        key = band[:, 0].astype(np.int64) * 256 + band[:, 1]
        order = np.argsort(key, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            if not 2 <= len(group) <= _MAX_BAND:
                continue
            bits = np.unpackbits(looks[group], axis=1)
            distance = (bits[:, None] != bits[None]).sum(axis=2)
            for i, j in np.argwhere(np.triu(distance <= MAX_LOOK_DISTANCE, 1)):
                a, b = int(numbers[group[i]]), int(numbers[group[j]])
                if (
                    images.split_of(a) == images.split_of(b)
                    or digests[group[i]] == digests[group[j]]
                ):
                    continue
                path = images.of(b)[1]
                if path not in seen:
                    seen.add(path)
                    findings.append(
                        Finding(
                            "image looks like one of another split", images.places(b, a), "noted"
                        )
                    )
    return findings


def unions(splits: Sequence[SplitImages]) -> list[str]:
    """Return the splits that hold all of the split "train" and more, as VOC's trainval does.

    That they share its images is meant.
    """
    train = next((s for s in splits if s.split == "train"), None)
    others = [s for s in splits if s is not train]
    if train is None or not len(train) or not others:
        return []
    held = _real_paths(train)
    return [s.split for s in others if len(s) > len(held) and _real_paths(s).is_above(held)]


def _real_paths(images: SplitImages) -> PathSet:
    return PathSet(map(images.real_path, range(len(images))))
