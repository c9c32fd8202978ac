"""Writer of TFRecord shards with the keys of Model Garden and the Object Detection API, and of
their label map."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_retinanet.data.convert.output import Output
from keras_retinanet.data.convert.split import Job, Plan, Split
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.formats.records import tfrecord as keys
from keras_retinanet.data.formats.records.label_map import format_label_map
from keras_retinanet.data.images.address import num_image_bytes, open_image, read_image_bytes
from keras_retinanet.data.images.orientation import UPRIGHT, file_orientation
from keras_retinanet.errors import DataError

# Without a wish, shards are of about this size: large enough to be read in one go, small enough to
# be shared out between readers.
SHARD_BYTES = 128 * 2**20
LABEL_MAP = "label_map.pbtxt"
_MAX_SHARDS = 99_999
_FORMATS = {
    ".jpg": "jpeg",
    ".png": "png",
    ".gif": "gif",
    ".bmp": "bmp",
    ".webp": "webp",
    ".jxl": "jxl",
}


def plan_tfrecord(
    splits: Sequence[Split], output: Output, *, num_shards: int | None = None
) -> Plan:
    """Category ids are the labels; they must be above 0, which is the background's.

    Args:
        num_shards: of each split; no shard is empty.
    """
    findings: list[Finding] = []
    category_ids = splits[0].dataset.category_ids
    if min(category_ids) < 1:
        category_ids = tuple(range(1, len(category_ids) + 1))
        problem = "category ids below 1 mean the background in TFRecords; numbered anew, from 1 on"
        findings.append(Finding(problem, "category ids", "noted"))
    jobs = []
    for split in splits:
        findings += _turned_images(split)
        count = _num_shards(split, num_shards)
        for index, images in enumerate(np.array_split(np.arange(len(split.dataset)), count)):
            write = partial(_write, split, images.tolist(), category_ids)
            place = f"{split.name}-{index:05d}-of-{count:05d}.tfrecord"
            jobs.append(Job(len(images), partial(output.write_file, place, write)))
    names = dict(zip(category_ids, splits[0].dataset.class_names, strict=True))
    data_yaml = {
        "format": "tfrecord",
        "label_map": LABEL_MAP,
        "splits": {split.name: split.name for split in splits},
    }
    return Plan(
        jobs,
        lambda: output.write_text(LABEL_MAP, format_label_map(dict(sorted(names.items())))),
        data_yaml,
        findings,
    )


def _num_shards(split: Split, wanted: int | None) -> int:
    if wanted is None:
        size = sum(map(num_image_bytes, split.dataset.image_paths))
        wanted = -(-size // SHARD_BYTES)
    return max(1, min(wanted, len(split.dataset), _MAX_SHARDS))


def _turned_images(split: Split) -> list[Finding]:
    """Report images that others will see on their side, and their boxes beside the objects."""
    problem = "an image with an EXIF orientation, which TensorFlow's own decoders pass over"
    findings = []
    for path in split.dataset.image_paths:
        with open_image(path) as file:
            if file_orientation(file) != UPRIGHT:
                findings.append(Finding(problem, path, "noted"))
    return findings


def _write(
    split: Split,
    images: Sequence[int],
    category_ids: Sequence[int],
    path: Path,
) -> None:
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for i in images:
                writer.write(_example(split, i, category_ids))
    except tf.errors.OpError as error:
        raise DataError(f"cannot write the shard: {error.message}") from error


def _example(split: Split, i: int, category_ids: Sequence[int]) -> bytes:
    """Return the i-th image of a split and its objects as a serialised tf.train.Example."""
    dataset, name = split.dataset, split.image_names[i]
    encoded = read_image_bytes(dataset.image_paths[i])
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
