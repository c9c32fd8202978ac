"""Faults put into a data set on purpose: the check finds each with file and line, and nothing else;
training on the same folder runs through and counts what it left out."""

import dataclasses
import io
import json
import re
import shutil
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from PIL import Image

from keras_retinanet.config.load import load_config
from keras_retinanet.data.checks.check import check_dataset, severity, split_place
from keras_retinanet.data.crowded_images import BEYOND_CAP
from keras_retinanet.data.dataset import write_findings
from keras_retinanet.data.source import load_dataset
from keras_retinanet.training import train as training
from keras_retinanet.training.setup import prepare
from keras_retinanet.training.setup.input_batches import (
    make_anchor_recall,
    make_batches,
    make_plan,
)

LOST = ("image skipped", "box dropped", "box clipped", "box mended")
SIZE_DIFFERS = "annotated image size differs from the image's (which is trusted)"


@dataclasses.dataclass(frozen=True)
class Told:
    """A finding that is expected."""

    severity: str
    problem: str
    file: Path
    line: int | None = None


class FaultyVoc:
    """Puts faults into a Pascal VOC folder, each into an image of its own."""

    def __init__(self, root):
        self.root = root
        self.sets = {name: self._set(name).read_text().split() for name in ("train", "val")}
        self.free = list(self.sets["train"])
        self.expected = []
        self.num_faults = 0

    def _set(self, name):
        return self.root / "ImageSets" / "Main" / f"{name}.txt"

    def tell(self, severity, problem, file, line=None):
        self.expected.append(Told(severity, problem, Path(file), line))

    def image(self, stem):
        return self.root / "JPEGImages" / f"{stem}.jpg"

    def xml(self, stem):
        return self.root / "Annotations" / f"{stem}.xml"

    def add_stem(self, name, stem, like):
        """A new image with the annotations of another one, in a set."""
        self._list(name, stem)
        shutil.copy(self.xml(like), self.xml(stem))

    def add_object(self, stem, box, name, difficult=0):
        """Append an object; return its line."""
        text = self.xml(stem).read_text()
        head, end, tail = text.rpartition("</annotation>")
        xmin, ymin, xmax, ymax = box
        self.xml(stem).write_text(
            f"{head}<object>\n<name>{name}</name>\n<difficult>{difficult}</difficult>\n<bndbox>\n"
            f"<xmin>{xmin}</xmin>\n<ymin>{ymin}</ymin>\n<xmax>{xmax}</xmax>\n<ymax>{ymax}</ymax>\n"
            f"</bndbox>\n</object>\n{end}{tail}"
        )
        return head.count("\n") + 1

    def corners(self, stem):
        """The line of each object, and where it begins, in pixels from 0 on."""
        lines = self.xml(stem).read_text().splitlines()
        starts = [i for i, text in enumerate(lines, start=1) if "<object>" in text]
        boxes = ElementTree.parse(self.xml(stem)).getroot().findall("object/bndbox")
        places = [(int(b.find("xmin").text) - 1, int(b.find("ymin").text) - 1) for b in boxes]
        return list(zip(starts, places, strict=True))

    def keep_no_object(self, stem):
        text = self.xml(stem).read_text()
        self.xml(stem).write_text(re.sub(r"<object>.*</object>", "", text, flags=re.DOTALL))

    def declare(self, stem, width, height):
        text = self.xml(stem).read_text()
        text = re.sub(r"<width>\d+</width>", f"<width>{width}</width>", text)
        text = re.sub(r"<height>\d+</height>", f"<height>{height}</height>", text)
        self.xml(stem).write_text(text)

    def inject_all(self, name):
        """Put every fault in; `name` is a class that the folder has."""
        for inject in (self._images, self._named, self._repeated, self._boxes, self._classes):
            inject(name)
        return self.expected

    def _next(self):
        self.num_faults += 1
        return self.free.pop(0)

    def _images(self, name):
        """What is wrong with an image's bytes, or what the reading copes with."""
        pixels = lambda stem: Image.open(self.image(stem)).convert("RGB")  # noqa: E731
        damaged = "truncated or damaged image file"
        exif = Image.Exif()
        exif[0x0112] = 3
        palette_bmp = "BMP palette images cannot be read: convert to JPEG or PNG"
        bomb = f"image of more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels"
        contents = {
            damaged: lambda s: self.image(s).read_bytes()[:-200],
            "empty image file": lambda s: b"",
            "not an image, or one of an unknown kind": lambda s: b"see the other folder",
            "TIFF images cannot be read: convert to JPEG or PNG": lambda s: encoded(
                pixels(s), "TIFF"
            ),
            palette_bmp: lambda s: encoded(pixels(s).convert("P"), "BMP"),
            bomb: lambda s: png_of(40_000, 40_000, b""),
            "image with a side below 10 px": lambda s: encoded(pixels(s).resize((9, 40)), "JPEG"),
        }
        for problem, content in contents.items():
            stem = self._next()
            self.image(stem).write_bytes(content(stem))
            self.tell("warning", problem, self.image(stem))
        for line, (left, top) in self.corners(stem):
            if left >= 9 or top >= 40:  # what is left of the last of these images
                self.tell("warning", "box outside the image", self.xml(stem), line)
        stem = self._next()
        self.image(stem).unlink()
        self.tell("warning", "missing image file", self.image(stem))
        stem = self._next()
        self.image(stem).unlink()
        self.image(stem).mkdir()
        self.tell("warning", damaged, self.image(stem))
        mended = {
            "grayscale image: read as RGB": lambda i: encoded(i.convert("L"), "JPEG"),
            "CMYK image: converted to RGB": lambda i: encoded(i.convert("CMYK"), "JPEG"),
            "image turned by its EXIF orientation": lambda i: encoded(i, "JPEG", exif=exif),
            "PNG image in a file named .jpg: read by its content": lambda i: encoded(i, "PNG"),
        }
        for problem, content in mended.items():
            stem = self._next()
            self.image(stem).write_bytes(content(pixels(stem)))
            self.tell("note", problem, self.image(stem))

    def _named(self, name):
        """Images of other formats, under names that say so; and of unusual shapes."""
        deep = lambda i: png_of(*i.size, np.asarray(i, ">u2").tobytes(), depth=16)  # noqa: E731
        others = {
            (".png", "image with alpha: alpha is dropped"): lambda i: encoded(
                i.convert("RGBA"), "PNG"
            ),
            (".png", "palette image: read as RGB"): lambda i: encoded(i.convert("P"), "PNG"),
            (".png", "16-bit image: scaled to 8 bits"): deep,
            (".gif", "animated image: the first frame is read"): lambda i: encoded(
                i, "GIF", save_all=True, append_images=[i.transpose(Image.Transpose.ROTATE_180)]
            ),
        }
        for (suffix, problem), content in others.items():
            stem = self._next()
            image = Image.open(self.image(stem)).convert("RGB")
            self.image(stem).unlink()
            self.image(stem).with_suffix(suffix).write_bytes(content(image))
            self.tell("note", problem, self.image(stem).with_suffix(suffix))
        stem = self._next()
        pixels = np.random.default_rng(1).integers(0, 256, (40, 2000, 3), np.uint8)
        self.image(stem).write_bytes(encoded(Image.fromarray(pixels), "JPEG"))
        self.declare(stem, 2000, 40)
        self.keep_no_object(stem)
        line = self.add_object(stem, (41, 1, 48, 40), name)
        self.tell("note", "image longer than 20 times its other side", self.image(stem))
        # At its scale nothing is left of it.
        self.tell("warning", "object that no anchor matches", self.xml(stem), line)
        stem = self._next()
        self.declare(stem, 77, 66)
        self.tell("warning", SIZE_DIFFERS, self.image(stem))
        stem = self._next()
        width, height = Image.open(self.image(stem)).size
        self.declare(stem, height, width)
        on_its_side = "; is it annotated on its side, without its EXIF orientation?"
        self.tell("warning", SIZE_DIFFERS + on_its_side, self.image(stem))

    def _repeated(self, name):
        """The same image in two places, in names that need care; an image in none."""
        leak = "image in two splits: it inflates the scores"
        stem = self._next()
        self._list("val", stem)
        self.tell("warning", leak, self.image(stem))
        stem = self._next()
        self.add_stem("val", "100%_größe[1]", like=stem)
        shutil.copy(self.image(stem), self.image("100%_größe[1]"))
        self.tell("warning", leak, self.image("100%_größe[1]"))
        stem = self._next()
        self.add_stem("train", "copy:2", like=stem)
        shutil.copy(self.image(stem), self.image("copy:2"))
        self.tell("warning", "same image twice in a split", self.image("copy:2"))
        self.num_faults += 1
        stray = self.image("stray")
        pixels = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
        stray.write_bytes(encoded(Image.fromarray(pixels), "JPEG"))
        self.tell("note", "image that is in no split", stray)

    def _list(self, name, stem):
        self.sets[name].append(stem)
        self._set(name).write_text("".join(f"{line}\n" for line in self.sets[name]))

    def _boxes(self, name):
        """What is wrong with single objects."""
        stem = self._next()
        self.keep_no_object(stem)
        self.tell("note", "image without objects: trained as background", self.image(stem))
        faulty = {
            "box of zero or negative size": (20, 20, 20, 40),
            "box reaches out of the image": (21, 21, 5000, 5000),
            "box outside the image": (5000, 5000, 5040, 5040),
            "corners of a box are swapped": (60, 60, 21, 21),
        }
        for problem, box in faulty.items():
            stem = self._next()
            self.keep_no_object(stem)
            self.add_object(stem, (11, 11, 60, 60), name)
            self.tell("warning", problem, self.xml(stem), self.add_object(stem, box, name))
        stem = self._next()
        line = self.add_object(stem, (5, 5, 40, 40), name, difficult=1)
        problem = "crowd or difficult object: ignored in training"
        self.tell("note", problem, self.xml(stem), line)
        for problem, second in {
            "box annotated twice": name,
            "box annotated with two classes": "common",
        }.items():
            stem = self._next()
            self.keep_no_object(stem)
            self.add_object(stem, (11, 12, 50, 51), name)
            line = self.add_object(stem, (11, 12, 50, 51), second)
            self.tell("warning", problem, self.xml(stem), line)
        stem = self._next()
        self.keep_no_object(stem)
        for i in range(1024):
            x, y = 1 + i % 32, 1 + i // 32
            self.add_object(stem, (x, y, x + 39, y + 39), name)
        self.tell("note", "image with 1000 boxes or more", self.image(stem))
        self.tell("note", BEYOND_CAP, self.image(stem))
        stem = self._next()
        line = self.add_object(stem, (31, 31, 32, 60), name)
        self.tell("warning", "object that no anchor matches", self.xml(stem), line)
        stem = self._next()
        self.keep_no_object(stem)
        line = self.add_object(stem, (1.2, 1.2, 0.8, 0.9), name)
        self.tell("warning", "corners of a box are swapped", self.xml(stem), line)
        self.tell("warning", "boxes of an image look normalised", self.xml(stem), line)
        self.tell("warning", "object that no anchor matches", self.xml(stem), line)

    def _classes(self, name):
        data = self.root / "data.yaml"
        big = (11, 11, 60, 60)
        self.add_object(self._next(), big, "rare")
        self.tell("note", "class with fewer than 20 objects to train on", data)
        self.tell("warning", "class absent from val: its AP is n/a", data)
        self.num_faults += 1
        self.add_object(self.sets["val"][0], big, "newcomer")
        self.tell("warning", "class that is never trained", data)
        # A good class in both, for the box of two classes.
        for stem in self.free[:20]:
            self.add_object(stem, big, "common")
        self.add_object(self.sets["val"][1], big, "common")
        self.num_faults += 1
        for stem in self.sets["val"][:2]:
            self.add_object(stem, (21, 21, 60, 60), "Common ")
        for stem in self.free[:20]:
            self.add_object(stem, (21, 21, 60, 60), "COMMON")
        self.add_object(self.sets["val"][2], (21, 21, 60, 60), "COMMON")
        self.tell("warning", "class that is never trained", data)
        self.tell("warning", "class names that differ in case or spaces", data)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_of(width, height, samples, depth=8):
    """An RGB PNG by hand: Pillow writes no 16 bits, and nothing that is too large."""

    def chunk(name, content):
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    stride = 6 * width
    rows = b"".join(
        b"\0" + samples[i : i + stride] for i in range(0, len(samples), stride) if stride
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def write_voc(root, counts, rng):
    """A sound folder: noise, so that no two images are alike, with a cat and a dog in each."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name, count in counts.items():
        stems = [f"{name}_{i:03d}" for i in range(count)]
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(stems) + "\n")
        for stem in stems:
            pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
            image = Image.fromarray(pixels).resize((96, 80), Image.Resampling.NEAREST)
            image.save(root / "JPEGImages" / f"{stem}.jpg")
            objects = "".join(
                f"<object>\n<name>{name}</name>\n<bndbox>\n<xmin>{x}</xmin>\n<ymin>{x}</ymin>\n"
                f"<xmax>{x + 39}</xmax>\n<ymax>{x + 39}</ymax>\n</bndbox>\n</object>\n"
                for name, x in (("cat", 1), ("dog", 31))
            )
            (root / "Annotations" / f"{stem}.xml").write_text(
                "<annotation>\n<size>\n<width>96</width>\n<height>80</height>\n</size>\n"
                f"{objects}</annotation>\n"
            )
    write_yaml(root, counts)


def write_yaml(root, splits):
    values = {"format": "voc", "root": ".", "splits": {name: name for name in splits}}
    (root / "data.yaml").write_text(yaml.safe_dump(values))


def check(root, **options):
    config = load_config("bccd_r18", ["image.size=480", "image.max_size=640"])
    report = check_dataset(
        root / "data.yaml",
        measure_anchors=lambda dataset: make_anchor_recall(config, dataset),
        **options,
    )
    return report, {described(f) for f in report.findings}


def described(finding):
    place = split_place(finding.where)
    return Told(severity(finding), finding.problem, Path(place["file"]), place["line"])


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    root = tmp_path_factory.mktemp("faulty")
    write_voc(root, {"train": 80, "val": 8}, np.random.default_rng(0))
    assert check(root, decode=True)[0].findings == []
    folder = FaultyVoc(root)
    folder.inject_all("cat")
    return folder


@pytest.fixture(scope="module")
def checked(faulty):
    return check(faulty.root, decode=True)


def test_every_fault_is_found_with_its_place_and_nothing_else(faulty, checked):
    report, found = checked
    assert faulty.num_faults >= 30
    lost = {f for f in found if f.problem in LOST_BOXES}
    assert found - lost == set(faulty.expected)
    # One finding each, two images that are damaged in different ways included.
    counts = Counter(map(described, report.findings))
    assert Counter({f: n for f, n in counts.items() if f not in lost}) == Counter(faulty.expected)
    # Each box of each image that cannot be used, with its line.
    unusable = [f.file.stem for f in faulty.expected if f.problem.startswith(SKIPPED)]
    boxes = [f for f in report.findings if f.problem == LOST_BOXES[1]]
    assert len(unusable) == 9 and len(boxes) == 2 * (9 - 1) - 1 == len({f.where for f in boxes})
    assert {described(f).file.stem for f in boxes} < set(unusable)
    assert all(described(f).line for f in boxes)
    assert report.exit_status == 1


def test_without_decoding_the_same_is_found(faulty, checked):
    _, found = check(faulty.root)
    assert {f for f in found if f.problem not in LOST_BOXES} == set(faulty.expected)
    with_decoding = {f for f in checked[1] if f.problem in LOST_BOXES}
    assert {f for f in found if f.problem in LOST_BOXES} == with_decoding


def test_training_runs_through_and_counts_what_is_left_out(faulty, checked, tmp_path):
    config = load_config("bccd_r18", ["image.size=64", "image.max_size=96"])
    train_set, val_set = (load_dataset(faulty.root / "data.yaml", s) for s in ("train", "val"))
    plan = make_plan(config, train_set)
    batches = make_batches(config, train_set, plan).take(plan.steps_per_epoch)
    for images, targets in batches:
        assert np.isfinite(targets["gt_boxes"]).all() and len(images) == 4
    skipped = sum(f.problem.startswith(SKIPPED) for f in checked[0].findings)
    assert len(train_set) == 81 - skipped == 81 - 9
    write_findings(train_set.findings + val_set.findings, tmp_path / "data_findings.json")
    assert_counts_agree(tmp_path / "data_findings.json", checked[0])


SKIPPED = (
    "truncated",
    "empty",
    "not an image",
    "TIFF",
    "BMP palette",
    "image of more than",
    "image with a side",
    "missing",
)


LOST_BOXES = ("boxes of missing images", "box of an image that cannot be used")


def assert_counts_agree(path, report):
    recorded = Counter(
        (f["problem"], f["action"])
        for f in json.loads(path.read_text())["findings"]
        if f["action"] in LOST
    )
    assert recorded == Counter((f.problem, f.action) for f in report.findings if f.action in LOST)


@pytest.mark.slow
@pytest.mark.real_data
def test_bccd_with_faults(real_data, tmp_path, small_resnet18, monkeypatch):
    monkeypatch.setattr(prepare, "make_strategy", lambda *_, **__: tf.distribute.get_strategy())
    root = tmp_path / "bccd"
    shutil.copytree(real_data / "bccd", root)
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    write_yaml(root, ["train", "val", "test"])
    _, before = check(root, decode=True)
    degenerate = [f for f in before if f.problem == "box of zero or negative size"]
    assert sorted(f.file.stem for f in degenerate) == DEGENERATE
    folder = FaultyVoc(root)
    # Their own degenerate boxes are to be found beside the ones put in.
    folder.free = [s for s in folder.free if s not in DEGENERATE]
    folder.inject_all("RBC")
    assert folder.num_faults >= 30
    _, found = check(root, decode=True)
    assert set(folder.expected) <= found
    assert set(degenerate) <= found
    extra = found - set(folder.expected) - before
    # The copies of images have the objects of their originals, those without an anchor included.
    extra = {f for f in extra if f.file.stem not in ("100%_größe[1]", "copy:2")}
    problems = {(f.problem, f.file.name) for f in extra}
    assert {problem for problem, _ in problems} == set(LOST_BOXES)
    overrides = [
        *("model.fpn_channels=8", "model.head_channels=8", "model.head_depth=1"),
        *("image.size=96", "image.max_size=128", "schedule.length=1"),
        *("inference.score_threshold=0.5", "training.evaluate_every=1"),
    ]
    config = load_config("bccd_r18", overrides)
    train_set, val_set = (load_dataset(root / "data.yaml", s) for s in ("train", "val"))
    training.train(config, train_set, val_set, tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "last.keras").is_file()
    of_both, _ = check(root, decode=True, splits=["train", "val"])
    assert_counts_agree(tmp_path / "run" / "data_findings.json", of_both)


DEGENERATE = ["BloodImage_00338", "BloodImage_00343"]
