"""Writer of TFRecord files with the keys of Model Garden and the Object Detection API, and of their
label map: which file holds which images, and what is written into one."""

import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.data.cleaning import BOX_OF_NO_IMAGE
from keras_retinanet.data.convert.output import Output
from keras_retinanet.data.convert.split import Split
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.formats.records import tfrecord as keys
from keras_retinanet.data.formats.records.label_map import format_label_map
from keras_retinanet.data.images.address import num_image_bytes, read_image_bytes
from keras_retinanet.data.images.inspection import inspect_image
from keras_retinanet.data.images.orientation import UPRIGHT, file_orientation
from keras_retinanet.data.lost_labels import BOX_DROPPED
from keras_retinanet.errors import DataError
from keras_retinanet.system.digests import sha256

# Without a wish, files are of about this size: large enough to be read in one go, small enough to
# be shared out between readers.
FILE_BYTES = 128 * 2**20
LABEL_MAP = "label_map.pbtxt"
_MAX_FILES = 99_999
_TURNED = "an image with an EXIF orientation, which TensorFlow's own decoders pass over"
_FORMATS = {
    ".jpg": "jpeg",
    ".png": "png",
    ".gif": "gif",
    ".bmp": "bmp",
    ".webp": "webp",
    ".jxl": "jxl",
}


@dataclass(frozen=True)
class RecordFile:
    """A file to write: its name, and the rows of a split's images that go into it."""

    place: str
    split: Split
    images: range


class RecordPlan:
    """All record files of a conversion; any process writes any of them.

    Category ids are the labels; they must be above 0, which is the background's.

    Args:
        num_files: of each split; None: by size. None has no image to write.
        check_images: decode each image before it is written, and leave out damaged ones.
    """

    def __init__(
        self,
        splits: Sequence[Split],
        *,
        num_files: int | None = None,
        check_images: bool = True,
    ) -> None:
        self.splits = splits
        self.findings: list[Finding] = []
        self._check_images = check_images
        self._category_ids = splits[0].dataset.category_ids
        if min(self._category_ids) < 1:
            self._category_ids = tuple(range(1, len(self._category_ids) + 1))
            problem = (
                "category ids below 1 mean the background in TFRecords; numbered anew, from 1 on"
            )
            self.findings.append(Finding(problem, "category ids", "noted"))
        self.files = [file for split in splits for file in _files(split, num_files)]

    @property
    def label_map(self) -> str:
        """The text of the label map."""
        names = zip(self._category_ids, self.splits[0].dataset.class_names, strict=True)
        return format_label_map(dict(sorted(names)))

    @property
    def data_yaml(self) -> dict[str, Any]:
        return {
            "format": "tfrecord",
            "label_map": LABEL_MAP,
            "splits": {split.name: split.name for split in self.splits},
        }

    def write(self, number: int, output: Output) -> dict[str, Any]:
        """Write a file; return what is to be known of it, ready for JSON.

        "findings" are [problem, where, action] of the images in it, or left out of it.
        """
        file = self.files[number]
        counts = {"images": 0, "boxes": 0, "objects": 0}
        findings: list[Finding] = []

        def write(path: Path) -> None:
            with tf.io.TFRecordWriter(str(path)) as writer:
                for i, encoded in self._usable(file, findings):
                    rows = file.split.dataset.rows(i)
                    counts["images"] += 1
                    counts["boxes"] += rows.stop - rows.start
                    counts["objects"] += int((~file.split.dataset.is_ignored[rows]).sum())
                    writer.write(_example(file.split, i, encoded, self._category_ids))

        try:
            output.write_file(file.place, write)
        except tf.errors.OpError as error:
            raise DataError(f"cannot write {file.place}: {error.message}") from error
        return {
            "split": file.split.name,
            **counts,
            **described_file(output.path(file.place)),
            "findings": [[f.problem, f.where, f.action] for f in findings],
        }

    def _usable(self, file: RecordFile, findings: list[Finding]) -> Iterator[tuple[int, bytes]]:
        """Yield the row and the bytes of each image to be written; note what others have."""
        dataset = file.split.dataset
        for i in file.images:
            path = dataset.image_paths[i]
            fault = inspect_image(path).fault if self._check_images else None
            if fault is not None:
                findings.append(Finding(fault, path, "image skipped"))
                rows = dataset.rows(i)
                findings += [
                    Finding(BOX_OF_NO_IMAGE, f"{path}, object {k}", BOX_DROPPED)
                    for k in range(rows.stop - rows.start)
                ]
                continue
            encoded = read_image_bytes(path)
            if file_orientation(io.BytesIO(encoded)) != UPRIGHT:
                findings.append(Finding(_TURNED, path, "noted"))
            yield i, encoded


def described_file(path: Path) -> dict[str, Any]:
    """Return the size and the checksum of a file, as the manifest holds them."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def _files(split: Split, wanted: int | None) -> list[RecordFile]:
    num_images = len(split.dataset)
    if wanted is None:
        size = sum(map(num_image_bytes, split.dataset.image_paths))
        wanted = -(-size // FILE_BYTES)
    count = max(1, min(wanted, num_images, _MAX_FILES))
    # The first ones have one image more, where the division leaves a rest.
    share, rest = divmod(num_images, count)
    ends = [share * (i + 1) + min(i + 1, rest) for i in range(count)]
    return [
        RecordFile(f"{split.name}-{i:05d}-of-{count:05d}.tfrecord", split, range(start, end))
        for i, (start, end) in enumerate(itertools.pairwise([0, *ends]))
    ]


def _example(split: Split, i: int, encoded: bytes, category_ids: Sequence[int]) -> bytes:
    """Return the i-th image of a split and its objects as a serialised tf.train.Example."""
    dataset, name = split.dataset, split.image_names[i]
    rows = dataset.rows(i)
    sides = np.array([dataset.widths[i], dataset.heights[i]] * 2)
    labels = dataset.labels[rows].tolist()
    example = tf.train.Example()
    feature = example.features.feature

    def texts(key: str, *values: str) -> None:
        feature[key].bytes_list.value.extend([value.encode() for value in values])

    def integers(key: str, *values: int) -> None:
        feature[key].int64_list.value.extend(values)

    def numbers(key: str, values: np.ndarray) -> None:
        feature[key].float_list.value.extend(values.tolist())

    feature[keys.ENCODED].bytes_list.value.append(encoded)
    texts(keys.FORMAT, _FORMATS[keys.image_suffix(encoded)])
    texts(keys.SHA256, hashlib.sha256(encoded).hexdigest())
    integers(keys.HEIGHT, int(dataset.heights[i]))
    integers(keys.WIDTH, int(dataset.widths[i]))
    texts(keys.FILENAME, name)
    texts(keys.SOURCE_ID, str(dataset.image_ids[i]))
    for key, column in zip(keys.BOX_KEYS, (dataset.boxes[rows] / sides).T, strict=True):
        numbers(key, column)
    integers(keys.LABEL, *(category_ids[label] for label in labels))
    texts(keys.TEXT, *(dataset.class_names[label] for label in labels))
    numbers(keys.AREA, dataset.areas[rows])
    integers(keys.IS_CROWD, *dataset.is_ignored[rows].astype(int).tolist())
    # Else the order of the keys changes from process to process, and with it the file.
    return example.SerializeToString(deterministic=True)
