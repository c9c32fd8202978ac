"""Damaged annotation files give a valid data set or one line that names a file: nothing else.

A format joins in by a line in FORMATS.
"""

import json
import random
import re
import signal
import warnings
from functools import partial

import numpy as np
import pytest

from keras_retinanet.data.dataset import ANY_CLASS
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import ConfigError, DataError
from tests.data.conftest import (
    CocoFolder,
    CsvFolder,
    KittiFolder,
    OpenImagesFolder,
    VocFolder,
    YoloFiles,
)
from tests.data.formats.tools.tool_folder import CREATEML, ToolFolder

TOOL_FILES = {
    "automl_csv": "labels.csv",
    "createml": CREATEML,
    "cvat_images": "annotations.xml",
    "datumaro": "train.json",
    "hf_metadata": "metadata.jsonl",
    "label_studio": "project.json",
    "labelme": "a.json",
    "oidv4": "things/Label/a.txt",
    "supervisely": "ann/a.jpg.json",
    "via": "via.json",
}
# Maker of the folder, and the files that are damaged beside data.yaml.
FORMATS = {
    "coco": (CocoFolder, ["train.json"]),
    "csv": (CsvFolder, ["train.csv", "classes.csv"]),
    "kitti": (KittiFolder, ["training/label_2/a.txt", "train.txt"]),
    "open_images": (OpenImagesFolder, ["boxes.csv", "classes.csv"]),
    "voc": (VocFolder, ["Annotations/a.xml", "ImageSets/Main/train.txt"]),
    "yolo": (YoloFiles, ["labels/a.txt"]),
    **{kind: (partial(ToolFolder, kind=kind), [file]) for kind, file in TOOL_FILES.items()},
}
NUM_QUICK, NUM_SLOW = 60, 2000
# Far above what a sound reading takes, which is some milliseconds.
TIME_LIMIT_SECONDS = 20

NUMBERS = [
    "nan", "inf", "-inf", "1e400", "-1e400", "-1", "0", "", " ", "x", "1e-320", "1e18", "1e300",
    "9" * 30, "9" * 5000, "0x10", "1_0", "1,5", "null", "true", "\u0663", "2001-99-99", "0.5",
]  # fmt: skip
VALUES = [
    None, True, False, -1, 0, 10**30, 1e300, float("nan"), float("inf"), "", "x", "0", "\0", "a\nb",
    "\ud800", [], [[]], [None] * 4, ["1"] * 4, {}, {"a": {}}, "x" * 5000, "../" * 50,
]  # fmt: skip
DEEP = [b"[" * 100_000, b'{"a":' * 100_000, b"<a>" * 100_000, b"- " * 5_000, b'"' * 100_000]
BOMBS = [
    b'<!DOCTYPE b [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 12))
    + b"]><annotation><object><name>&a11;</name></object></annotation>",
    b'<!DOCTYPE b [<!ENTITY f SYSTEM "file:///etc/hostname">]><annotation>&f;</annotation>',
    b"a0: &a0 [x, x]\n"
    + b"".join(
        b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 9)
    )
    + b"format: *a8\nsplits: *a8\n",
]


def flip_bytes(data, rng):
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 8) if data else 0):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def truncate(data, rng):
    return data[: rng.randint(0, len(data))]


def cut_out(data, rng):
    start, end = sorted(rng.randint(0, len(data)) for _ in range(2))
    return data[:start] + data[end:]


def change_lines(data, rng):
    lines = re.split(rb"(?<=[\n>}])", data)
    i, j = (rng.randrange(len(lines)) for _ in range(2))
    return b"".join(
        rng.choice(
            [
                lines[:i] + lines[i + 1 :],
                lines[:i] + [lines[i]] * rng.choice([2, 3, 50]) + lines[i + 1 :],
                [*lines[:i], lines[j], *lines[i:]],
                [*lines[:i], b"\n" * 5, *lines[i:]],
            ]
        )
    )


def change_number(data, rng):
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not numbers:
        return data + rng.choice(NUMBERS).encode()
    for match in sorted(
        rng.sample(numbers, min(len(numbers), rng.choice([1, 1, 3]))), key=lambda m: -m.start()
    ):
        data = data[: match.start()] + rng.choice(NUMBERS).encode() + data[match.end() :]
    return data


def change_delimiter(data, rng):
    old = rng.choice([b",", b" ", b":", b"\n", b'"', b"<", b"/", b"{", b"[", b"0", b"a"])
    new = rng.choice(
        [b";", b"\t", b"\r", b'"', b"'", b"", b",,", b"\0", b"&", b"\\", b"%", b"\x0b"]
    )
    places = [m.start() for m in re.finditer(re.escape(old), data)]
    for place in sorted(
        rng.sample(places, min(len(places), rng.choice([1, 3, 1000]))), reverse=True
    ):
        data = data[:place] + new + data[place + len(old) :]
    return data


def change_encoding(data, rng):
    text = data.decode("utf-8", "replace")
    return rng.choice(
        [
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-16-be"),
            lambda: text.encode("utf-32"),
            lambda: b"\xef\xbb\xbf" * rng.choice([1, 2]) + data,
            lambda: text.replace("a", "ä").encode("latin-1", "replace"),
            lambda: text.replace("a", "\u2028雪\U0001f600").encode(),
            lambda: (
                b"<?xml version='1.0' encoding='%s'?>"
                % rng.choice([b"utf-7", b"x", b"utf-16", b"hex"])
                + data
            ),
            lambda: data.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\r", b"\0\n"])),
        ]
    )()


def change_structure(data, rng):
    """Put a value of another kind somewhere into JSON; elsewhere, into a cell or an element."""
    try:
        content = json.loads(data)
    except ValueError:
        cells = re.split(rb"([,;<>\s]+)", data)
        cells[rng.randrange(len(cells))] = str(rng.choice(VALUES)).encode("utf-8", "surrogatepass")
        return b"".join(cells)
    node, parent, key = content, None, None
    while isinstance(node, dict | list) and node and (parent is None or rng.random() < 0.8):
        parent = node
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        node = parent[key]
    if parent is None:
        content = rng.choice(VALUES)
    elif rng.random() < 0.2:
        del parent[key]
    else:
        parent[key] = rng.choice(VALUES)
    return json.dumps(content).encode()


def nest(data, rng):
    """Put something deep into the middle."""
    place = rng.randint(0, len(data))
    return data[:place] + rng.choice(DEEP) + data[place:]


# The last is seldom: there are few of its kind.
MUTATIONS = [
    flip_bytes, truncate, cut_out, change_lines, change_number, change_delimiter, change_structure,
    change_encoding,
] * 5 + [change_number, change_structure] * 10 + [nest]  # fmt: skip
WHOLE_FILES = [b"", b"\n", b"\0" * 100, bytes(range(256)), *DEEP, *BOMBS]


@pytest.fixture(scope="module")
def formats(tmp_path_factory, picture):
    """A sound folder of each format, and its files that are damaged."""
    made = {}
    for name, (maker, files) in FORMATS.items():
        folder = maker(tmp_path_factory.mktemp(name), picture)
        for image in ("a.jpg", "b.jpg", "c.jpg"):
            folder.add_image(image, (64, 64))
            more = (
                {"area": 321.5, "segmentation": [[8, 4, 40, 4, 40, 30]]} if name == "coco" else {}
            )
            folder.add_box(image, (8, 4, 40, 30), "cat", **more)
            folder.add_box(image, (1, 2, 30, 60), "dog")
        assert folder.load().num_boxes == 6
        made[name] = (folder.root, [*files, "data.yaml"])
    return made


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_some_damaged_files(formats, name):
    read_damaged(name, *formats[name], range(NUM_QUICK))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_many_damaged_files(formats, name):
    read_damaged(name, *formats[name], range(NUM_QUICK, NUM_QUICK + NUM_SLOW))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_something_else_in_place_of_a_file(formats, name):
    root, (*files, _) = formats[name]
    for path in (root / file for file in files):
        for number, content in enumerate(WHOLE_FILES):
            read(root, path, content, f"content {number} as {path.name}")


@pytest.mark.parametrize("content", [b"", b"\n", b"\0", bytes(range(256)), DEEP[0], BOMBS[-1]])
def test_something_else_in_place_of_a_data_yaml(formats, content):
    root, _ = formats["coco"]  # the same code reads it in every format
    assert not read(root, root / "data.yaml", content, "a data.yaml")


def read_damaged(name, root, files, seeds):
    outcomes = []
    for seed in seeds:
        rng = random.Random(f"{name} {seed}")
        # The annotations themselves are damaged most.
        path = root / rng.choice([files[0]] * 3 + files)
        mutation = rng.choice(MUTATIONS)
        damaged = mutation(path.read_bytes(), rng)
        outcomes.append(
            read(root, path, damaged, f"seed {seed}, {mutation.__name__} of {path.name}")
        )
    # The damage is neither so slight nor so great that one of the two is never seen.
    assert 0.1 < np.mean(outcomes) < 0.9


def read(root, path, content, case):
    sound = path.read_bytes()
    try:
        path.write_bytes(content)
        return outcome(root, case)
    finally:
        path.write_bytes(sound)


def outcome(root, case):
    """Return whether there is a data set; whatever else happens than it may is a failure."""

    def too_long(*args):
        raise TimeoutError(f"{case}: more than {TIME_LIMIT_SECONDS} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TIME_LIMIT_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            check_dataset(load_dataset(root / "data.yaml", "train", decode_images=False), case)
        return True
    except (DataError, ConfigError) as error:
        message = str(error)
        assert str(root) in message, f"{case}: no file in {message!r}"
        assert "\n" not in message, f"{case}: more than a line: {message!r}"
        assert len(message.encode()) < 3000, f"{case}: {message[:300]!r} goes on and on"
        return False
    except Exception as error:
        raise AssertionError(f"{case}: {error!r}") from error
    finally:
        signal.alarm(0)


def check_dataset(dataset, case):
    boxes, images = dataset.boxes, np.repeat(np.arange(len(dataset)), np.diff(dataset.row_splits))
    assert boxes.dtype == np.float32, case
    assert boxes.shape == (len(dataset.labels), 4), case
    assert dataset.row_splits[0] == 0 and dataset.row_splits[-1] == len(boxes), case
    assert len(dataset.image_ids) == len(dataset.image_paths) == len(dataset.heights), case
    assert len(set(dataset.image_ids)) == len(dataset), case
    limits = np.stack([dataset.widths, dataset.heights], axis=1)[images]
    assert (boxes >= 0).all() and (boxes[:, 2:] <= limits).all(), case
    assert (boxes[:, 2:] > boxes[:, :2]).all(), case
    assert np.isfinite(dataset.areas).all(), case
    assert (dataset.labels < len(dataset.class_names)).all(), case
    assert ((dataset.labels >= 0) | ((dataset.labels == ANY_CLASS) & dataset.is_ignored)).all(), (
        case
    )
    assert len(set(dataset.class_names)) == len(dataset.category_ids), case
    assert all(isinstance(name, str) and name for name in dataset.class_names), case
    # Reports and messages can be written.
    json.dumps([list(dataset.image_ids), dataset.category_ids])
    "".join([*dataset.class_names, *(f.problem + f.where for f in dataset.findings)]).encode()
