"""What the parts of a check tell of image files, in arrays; it takes the place of reading them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.data.checks.image_files import ImageFiles
from keras_retinanet.data.checks.shards.image_lists import ImageLists
from keras_retinanet.data.images.inspection import ImageHeader
from keras_retinanet.data.images.scan import LOOK_BITS, ScannedImage
from keras_retinanet.errors import DataError, UserError
from keras_retinanet.system.shards.part_file import read_part
from keras_retinanet.system.shards.part_set import PartSet

_AGAIN = "make them again"


def image_row(header: ImageHeader, scanned: ScannedImage | None) -> dict[str, Any]:
    """Return what a part tells of an image file; `scanned` is None for one with a fault."""
    row: dict[str, Any] = {"size": [header.height, header.width]}
    if header.fault is not None:
        row.update(fault=header.fault, is_other_kind=header.is_other_kind)
    if scanned is not None:
        row["digest"] = scanned.digest.hex()
        if scanned.fault is not None:
            row["damage"] = scanned.fault
        if scanned.remarks:
            row["remarks"] = list(scanned.remarks)
        if scanned.look is not None:
            row["look"] = np.packbits(scanned.look).tobytes().hex()
    return row


class FilesOfParts(ImageFiles):
    """The files of a data set, as the parts of a check tell of them.

    Raises:
        DataError: a part is damaged, or an image is missing or there twice.
    """

    def __init__(self, parts: PartSet, lists: ImageLists) -> None:
        self._lists = lists
        self._images = _ImageTable(lists.num_images)
        self._faults: dict[str, str | None] = {}
        # Lists whose headers were asked for since the last scans, with their first images' numbers.
        self._asked: list[tuple[Sequence[str], int]] = []
        for path in parts.files:
            for batch, rows in read_part(path):
                self._add(batch, rows, path)
        self._images.refuse_missing()

    def headers(
        self, paths: Sequence[str], *, decode: bool, on_image: Callable[[], None]
    ) -> list[ImageHeader]:
        start = self._lists.start(paths)
        if start is None:
            raise UserError(
                f"the parts are of other data: they do not tell of {len(paths):,} images like "
                f"{paths[0] if paths else 'none'}: {_AGAIN}"
            )
        self._asked.append((paths, start))
        return [self._images.header(start + i) for i in range(len(paths))]

    def scans(
        self, paths: Sequence[str], *, with_looks: bool, on_image: Callable[[], None]
    ) -> Iterator[ScannedImage]:
        asked, self._asked = self._asked, []
        # Images of a data set follow each other as those of its annotations do.
        numbered = ((p, start + i) for listed, start in asked for i, p in enumerate(listed))
        for path in paths:
            number = next((number for p, number in numbered if p == path), None)
            if number is None:
                raise DataError(f"the parts do not tell of {path}, or in another order: {_AGAIN}")
            yield self._images.scanned(number)

    def fault_of_file(self, path: Path, told: Mapping[str, Any]) -> str | None:
        return self._faults[path.name]

    def _add(self, batch: int, rows: list[dict[str, Any]], source: Path) -> None:
        first = self._lists.first_image(batch)
        try:
            for i, row in enumerate(rows):
                if first is None:
                    self._faults[row["file"]] = row["fault"]
                else:
                    self._images.put(first + i, row)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise DataError(f"{source} is damaged: make this part again") from error


class _ImageTable:
    """What is known of n image files: few kinds of remarks, and numbers."""

    def __init__(self, count: int) -> None:
        self._sizes = np.zeros((count, 2), np.int32)
        self._digests = np.zeros(count, "V16")
        # Which of the kinds; -1: not told.
        self._fault_of, self._remarks_of = (np.full(count, -1, np.int32) for _ in range(2))
        self._faults: dict[tuple[str | None, bool], int] = {}
        self._remarks: dict[tuple[str | None, tuple[str, ...], bool], int] = {}
        self._look_of, self._looks = np.full(count, -1, np.int32), bytearray()
        self._num_looks = 0
        self._headers: dict[tuple[int, int, int], ImageHeader] = {}

    def put(self, image: int, row: Mapping[str, Any]) -> None:
        """Keep an image's row; see `image_row`."""
        if self._fault_of[image] >= 0:
            raise ValueError(f"image {image} is there twice")
        self._sizes[image] = row["size"]
        fault = (row.get("fault"), row.get("is_other_kind", False))
        self._fault_of[image] = self._faults.setdefault(fault, len(self._faults))
        if "digest" not in row:
            return
        digest = bytes.fromhex(row["digest"])
        self._digests[image] = np.void(digest.ljust(16, b"\0"))
        remarks = (row.get("damage"), tuple(row.get("remarks", ())), bool(digest))
        self._remarks_of[image] = self._remarks.setdefault(remarks, len(self._remarks))
        if "look" in row:
            self._look_of[image] = self._num_looks
            self._num_looks += 1
            self._looks += bytes.fromhex(row["look"])

    def refuse_missing(self) -> None:
        missing = int((self._fault_of < 0).sum())
        if missing:
            raise DataError(f"the parts lack {missing} of {len(self._fault_of)} images: {_AGAIN}")
        self._known_faults = list(self._faults)
        self._known_remarks = list(self._remarks)

    def header(self, image: int) -> ImageHeader:
        height, width = self._sizes[image].tolist()
        key = (height, width, int(self._fault_of[image]))
        header = self._headers.get(key)
        if header is None:
            # Of millions of images, most have the same header as another: one object for these.
            header = self._headers[key] = ImageHeader(height, width, *self._known_faults[key[2]])
        return header

    def scanned(self, image: int) -> ScannedImage:
        if self._remarks_of[image] < 0:
            raise DataError(
                "images have changed since the parts were made, in which some of them had no "
                "content: make the parts again"
            )
        damage, remarks, has_digest = self._known_remarks[self._remarks_of[image]]
        look = None
        if self._look_of[image] >= 0:
            size = LOOK_BITS // 8
            start = int(self._look_of[image]) * size
            packed = np.frombuffer(self._looks, np.uint8, size, start)
            look = np.unpackbits(packed).astype(bool)
        digest = self._digests[image].tobytes() if has_digest else b""
        return ScannedImage(damage, digest, remarks, look)
