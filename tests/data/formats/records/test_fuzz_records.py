"""Damaged YOLO and TFRecord files: each gives a data set, or one line that says what is wrong.

The mutations are seeded; a failure's number repeats it.
"""

import random

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import UserError

NUM_QUICK, NUM_SLOW = 40, 2000

DATA_YAML = """\
format: yolo
path: .
train: images/train
val: [images/train, list.txt]
nc: 2
names:
  0: cat
  1: dog
"""
LABELS = "0 0.5 0.5 0.25 0.25\n1 0.25 0.5 0.1 0.1\r\n\n1 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n"
LABEL_MAP = "item {\n  id: 1\n  name: 'cat'\n}\n# dogs\nitem { name: \"dog\", id: 3 }\n"
RECORDS_YAML = """\
# Records as another tool has exported them, with the names of their classes beside them
format: tfrecord
label_map: map.pbtxt
splits:
  train: [train]
  val: [train.tfrecord]
"""
# What breaks readers: signs, limits, other encodings, other types.
TOKENS = (
    *("nan", "-inf", "1e999", "-1", "0", "99999999999999999999", "0x10", "1_0", "٣", "", " ", "\t"),
    *("\x00", "\ufeff", "\u2028", "\r", "\n", "\\", '"', "'", "{", "}", "[", "]", ":", "- ", "#"),
    *("&a", "*a", "!!python/object:os.system", "null", "~", "yes", "../", "/", "é" * 300, "? "),
)


def mutated(content, rng):
    """Bytes with one to four changes: flipped, cut, doubled, moved, or a token put in."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        end = min(len(content), at + rng.choice((1, 2, 8, 64)))
        kind = rng.randrange(7)
        if kind == 0 and content:
            content[min(at, len(content) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del content[at:end]
        elif kind == 2:
            content[at:at] = content[at:end]
        elif kind == 3:
            del content[at:]
        elif kind == 4:
            content[at:end] = bytes(rng.randrange(256) for _ in range(end - at))
        elif kind == 5:
            content[at:at] = rng.choice(TOKENS).encode()
        else:
            content[at:end] = rng.choice(TOKENS).encode()
    return bytes(content)


def yolo(root, picture):
    for folder, content in (("images", picture), ("labels", LABELS.encode())):
        (root / folder / "train").mkdir(parents=True)
        for name in "ab":
            suffix = "jpg" if folder == "images" else "txt"
            (root / folder / "train" / f"{name}.{suffix}").write_bytes(content)
    (root / "list.txt").write_text("./images/train/a.jpg\nimages/train/b.jpg\n")
    (root / "data.yaml").write_text(DATA_YAML)


def example(picture, number):
    result = tf.train.Example()
    feature = result.features.feature
    feature["image/encoded"].bytes_list.value.append(picture)
    feature["image/filename"].bytes_list.value.append(b"%d.jpg" % number)
    feature["image/source_id"].bytes_list.value.append(b"%d" % number)
    for key, share in {"xmin": 0.1, "ymin": 0.2, "xmax": 0.5, "ymax": 0.6}.items():
        feature[f"image/object/bbox/{key}"].float_list.value.extend([share, share])
    feature["image/object/class/label"].int64_list.value.extend([1, 3])
    feature["image/object/class/text"].bytes_list.value.extend([b"cat", b"dog"])
    feature["image/object/is_crowd"].int64_list.value.extend([0, 1])
    return result.SerializeToString()


def tfrecord(root, picture):
    with tf.io.TFRecordWriter(str(root / "train.tfrecord")) as writer:
        for number in range(2):
            writer.write(example(picture, number))
    (root / "map.pbtxt").write_text(LABEL_MAP)
    (root / "data.yaml").write_text(RECORDS_YAML)


def change_file(name):
    def change(root, original, rng):
        (root / name).write_bytes(mutated(original[name], rng))

    return change


def change_record(root, original, rng):
    """Damage that the checksums do not find: they are of the damaged record."""
    records = list(tf.data.TFRecordDataset(str(root / "train.tfrecord")).as_numpy_iterator())
    at = rng.randrange(len(records))
    # The picture is most of a record, and not what is tested here.
    split = records[at].find(b"image/encoded") if rng.randrange(4) else len(records[at])
    head, tail = records[at][:split], records[at][split:]
    records[at] = mutated(head, rng) + tail
    with tf.io.TFRecordWriter(str(root / "train.tfrecord")) as writer:
        for record in records:
            writer.write(record)


CASES = {
    "yolo labels": (yolo, "train", change_file("labels/train/a.txt")),
    "yolo data.yaml": (yolo, "train", change_file("data.yaml")),
    "yolo list": (yolo, "val", change_file("list.txt")),
    "tfrecord file": (tfrecord, "train", change_file("train.tfrecord")),
    "tfrecord record": (tfrecord, "train", change_record),
    "label map": (tfrecord, "train", change_file("map.pbtxt")),
    "tfrecord data.yaml": (tfrecord, "train", change_file("data.yaml")),
}


def run(case, count, root, picture):
    """Return how many mutations gave a data set, and how many an error."""
    make, split, change = CASES[case]
    make(root, picture(16, 12))
    if case == "yolo list":  # images may be listed once
        text = (root / "data.yaml").read_text()
        (root / "data.yaml").write_text(text.replace("images/train, ", ""))
    original = {
        p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()
    }
    read, refused = 0, 0
    for number in range(count):
        change(root, original, random.Random(number))
        try:
            check(load_dataset(root / "data.yaml", split))
            read += 1
        except UserError as error:
            assert "\n" not in str(error).strip(), f"mutation {number}: {error}"
            refused += 1
        except Exception as error:
            raise AssertionError(f"mutation {number} of {case}") from error
        for name, content in original.items():
            (root / name).write_bytes(content)
    return read, refused


def check(dataset):
    assert isinstance(dataset, DetectionDataset)
    assert len(dataset.boxes) == len(dataset.labels) == dataset.row_splits[-1]
    assert np.isfinite(dataset.boxes).all()
    sizes = np.stack([dataset.widths, dataset.heights] * 2, 1)
    limits = np.repeat(sizes, np.diff(dataset.row_splits), axis=0)
    assert ((dataset.boxes >= 0) & (dataset.boxes <= limits)).all()
    assert (dataset.boxes[:, 2:] > dataset.boxes[:, :2]).all()
    assert ((dataset.labels >= 0) & (dataset.labels < len(dataset.class_names))).all()


@pytest.mark.parametrize("case", sorted(CASES))
def test_damage_is_read_or_told(case, tmp_path, picture):
    read, refused = run(case, NUM_QUICK, tmp_path, picture)
    assert refused
    assert read or case == "tfrecord file"  # whose checksums leave nothing undetected


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(CASES))
def test_much_damage_is_read_or_told(case, tmp_path, picture):
    read, refused = run(case, NUM_SLOW, tmp_path, picture)
    print(f"{case}: {read} read, {refused} refused")
