"""The same image twice: within a split, or in two splits, where it spoils the measuring."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.scan import LOOK_BITS, ScannedImage

# Images whose looks differ in at most this many of LOOK_BITS cells are shown to their owner.
MAX_LOOK_DISTANCE = 10
# Looks this close agree in one of as many bands and one: only those have to be compared.
_BAND_BITS = 16
# A band that more images than this share says nothing (a studio's background).
_MAX_BAND = 200

LEAKAGE = "image in two splits: it inflates the scores"


@dataclass(frozen=True, slots=True)
class ImageOfSplit:
    """An image file of a split, and what reading it gave."""

    split: str
    path: str
    scanned: ScannedImage


def find_duplicates(images: Sequence[ImageOfSplit]) -> list[Finding]:
    """Return a finding for each image that was there before: by its path, or its content."""
    findings = []
    first: dict[bytes, ImageOfSplit] = {}
    for image in images:
        if not image.scanned.digest:
            continue
        other = first.setdefault(image.scanned.digest, image)
        if other is image:
            continue
        if image.split != other.split:
            places = _places(image, other)
            findings.append(Finding(LEAKAGE, places, "leave it in one split"))
        elif image.path == other.path:
            findings.append(
                Finding("image file listed twice in a split", image.path, "list it once")
            )
        else:
            findings.append(
                Finding("same image twice in a split", _places(image, other), "remove one")
            )
    return findings


def find_lookalikes(images: Sequence[ImageOfSplit]) -> list[Finding]:
    """Return a finding for each image that looks like one of another split, in other bytes."""
    with_looks = [(im, im.scanned.look) for im in images if im.scanned.look is not None]
    if len(with_looks) < 2:
        return []
    images = [image for image, _ in with_looks]
    looks = np.stack([look for _, look in with_looks])
    bands = np.packbits(looks.reshape(len(images), LOOK_BITS // _BAND_BITS, _BAND_BITS), axis=2)
    findings: list[Finding] = []
    seen: set[str] = set()
    for band in bands.transpose(1, 0, 2):
        key = band[:, 0].astype(np.int64) * 256 + band[:, 1]
        order = np.argsort(key, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            if not 2 <= len(group) <= _MAX_BAND:
                continue
            distance = (looks[group, None] != looks[None, group]).sum(axis=2)
            for i, j in np.argwhere(np.triu(distance <= MAX_LOOK_DISTANCE, 1)):
                a, b = images[group[i]], images[group[j]]
                is_new = b.path not in seen and a.split != b.split
                if is_new and a.scanned.digest != b.scanned.digest:
                    seen.add(b.path)
                    findings.append(
                        Finding("image looks like one of another split", _places(b, a), "noted")
                    )
    return findings


def unions(paths: dict[str, set[str]]) -> list[str]:
    """Return the splits that hold all of the split "train" and more, as VOC's trainval does.

    That they share its images is meant.
    """
    train = paths.get("train")
    return [name for name, held in paths.items() if train and name != "train" and held > train]


def _places(image: ImageOfSplit, other: ImageOfSplit) -> str:
    if image.path == other.path:
        return f"{image.path}: in {other.split} and in {image.split}"
    return f"{image.path}: of {image.split}, the same as {other.path} of {other.split}"
