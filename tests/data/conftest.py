"""Small data sets made on the fly, in COCO's and in Pascal VOC's format, with one interface."""

import io
import json
import os
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from keras_retinanet.data.source import load_dataset

ORIENTATION_TAG = 0x0112


def contents(folder):
    """The bytes of all files below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class DataFolder:
    """Images and annotations in a folder; `load` writes the annotations and reads them back.

    Boxes are xyxy in pixels here, classes are names and images are file names, in every format.
    """

    classes = ("cat", "dog")

    def __init__(self, root, picture):
        self.root = root
        self.picture = picture
        self.findings = None

    def add_image(self, name="a.jpg", size=(64, 48), content=None, **declared):
        """Write an image; `content` takes the place of its bytes, False of the file."""
        path = self.image_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            kind = "PNG" if path.suffix == ".png" else "JPEG"
            content = self.picture(*size, kind=kind)
        if content is not False:
            path.write_bytes(content)
        self.declare_image(name, **{"width": size[0], "height": size[1], **declared})
        return path

    def load(self, split="train", **options):
        """Read the data set; nothing of what was written may change."""
        self.write()
        before = contents(self.root)
        try:
            dataset = load_dataset(self.root / "data.yaml", split, **options)
        finally:
            assert contents(self.root) == before
        self.findings = Counter((f.problem, f.action) for f in dataset.findings)
        return dataset

    def write_yaml(self, values):
        (self.root / "data.yaml").write_text(
            yaml.safe_dump(values, sort_keys=False), encoding="utf-8"
        )


class CocoFolder(DataFolder):
    def __init__(self, root, picture):
        super().__init__(root, picture)
        self.image_folder = root / "images"
        self.annotation_file = root / "train.json"
        # Not in the order of the ids, which have gaps and begin at 0.
        self.category_ids = {"dog": 7, "cat": 0}
        self.content = {
            "images": [],
            "annotations": [],
            "categories": [{"id": i, "name": name} for name, i in self.category_ids.items()],
        }

    def declare_image(self, name, **declared):
        image_id = 1000 - 7 * len(self.content["images"])
        self.content["images"].append({"id": image_id, "file_name": name, **declared})

    def image_id(self, name):
        return next(i["id"] for i in self.content["images"] if i["file_name"] == name)

    def add_box(self, image, box, class_name="cat", ignored=False, **fields):
        x1, y1, x2, y2 = box
        entry = {
            "id": len(self.content["annotations"]) + 1,
            "image_id": self.image_id(image),
            "category_id": self.category_ids[class_name],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "iscrowd": int(ignored),
        }
        self.content["annotations"].append({**entry, **fields})

    def write(self):
        self.annotation_file.write_text(json.dumps(self.content), encoding="utf-8")
        self.write_yaml(
            {
                "format": "coco",
                "splits": {"train": {"images": "images", "annotations": "train.json"}},
            }
        )


class VocFolder(DataFolder):
    def __init__(self, root, picture):
        super().__init__(root, picture)
        self.image_folder = root / "JPEGImages"
        self.annotation_folder = root / "Annotations"
        self.trees = {}
        self.image_set = None  # lines; all images by default
        self.settings = {"classes": list(self.classes)}

    def declare_image(self, name, **declared):
        tree = ElementTree.Element("annotation")
        ElementTree.SubElement(tree, "filename").text = name
        _add_texts(ElementTree.SubElement(tree, "size"), declared)
        self.trees[Path(name).stem] = tree

    def add_box(self, image, box, class_name="cat", ignored=False):
        node = ElementTree.SubElement(self.trees[Path(image).stem], "object")
        _add_texts(node, {"name": class_name, "difficult": int(ignored)})
        x1, y1, x2, y2 = box
        corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
        _add_texts(ElementTree.SubElement(node, "bndbox"), corners)

    def write(self):
        for stem, tree in self.trees.items():
            path = self.annotation_folder / f"{stem}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(ElementTree.tostring(tree))
        self.write_image_set("train", self.trees if self.image_set is None else self.image_set)
        self.write_yaml(
            {"format": "voc", "root": ".", "splits": {"train": "train"}, **self.settings}
        )

    def write_image_set(self, name, lines):
        path = self.root / "ImageSets" / "Main" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _add_texts(node, texts):
    for tag, value in texts.items():
        ElementTree.SubElement(node, tag).text = str(value)


FOLDERS = {"coco": CocoFolder, "voc": VocFolder}


@pytest.fixture(scope="session")
def picture():
    """A function: width, height, an array in place of the pixels -> the bytes of an image file.

    The picture is smooth, so that decoders agree on it, and no turn or mirror image of itself.
    """

    def make(width=64, height=48, *, pixels=None, kind="JPEG", mode="RGB", **options):
        if pixels is None:
            y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
            pixels = np.stack([250 * x, 250 * y, 60 + 60 * x * y], axis=-1)
        file = io.BytesIO()
        if kind == "JPEG":
            options = {"quality": 95, "subsampling": 0, **options}
        Image.fromarray(np.asarray(pixels, np.uint8)).convert(mode).save(file, kind, **options)
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def exif():
    """A function: orientation, byte order -> the EXIF that Pillow writes."""

    def make(orientation, endian=">"):
        tags = Image.Exif()
        tags[ORIENTATION_TAG] = orientation
        tags.endian = endian
        return tags

    return make


@pytest.fixture
def coco(tmp_path, picture):
    return CocoFolder(tmp_path, picture)


@pytest.fixture
def voc(tmp_path, picture):
    return VocFolder(tmp_path, picture)


@pytest.fixture(params=sorted(FOLDERS))
def folder(request, tmp_path, picture):
    """A data folder of each format."""
    return FOLDERS[request.param](tmp_path, picture)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets."""
    default = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("KERAS_RETINANET_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no real data: {path} is missing; KERAS_RETINANET_DATA names the folder")
    return path
