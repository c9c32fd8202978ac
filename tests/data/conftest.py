"""Small data sets made on the fly, in several formats, with one interface."""

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
        # Boxes here are given from 0 on, and written from 1 on, whatever their values look like.
        self.settings = {"classes": list(self.classes), "first_pixel": 1}

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


class CsvFolder(DataFolder):
    delimiter = ","
    header = None

    def __init__(self, root, picture):
        super().__init__(root, picture)
        self.image_folder = root / "images"
        self.rows = []
        self.class_rows = [["dog", 7], ["cat", 0]]

    def declare_image(self, name, **declared):
        self.rows.append([f"images/{name}", "", "", "", "", ""])

    def add_box(self, image, box, class_name="cat"):
        row = [f"images/{image}", *box, class_name]
        empty = [row[0], "", "", "", "", ""]
        if empty in self.rows:
            self.rows[self.rows.index(empty)] = row
        else:
            self.rows.append(row)

    def text(self, rows):
        return "".join(f"{self.delimiter.join(map(str, row))}\n" for row in rows)

    def write(self):
        header = [self.header] if self.header else []
        (self.root / "train.csv").write_text(self.text(header + self.rows), encoding="utf-8")
        values = {"format": "csv", "splits": {"train": "train.csv"}}
        if self.class_rows is not None:
            values["classes"] = "classes.csv"
            (self.root / "classes.csv").write_text(self.text(self.class_rows), encoding="utf-8")
        self.write_yaml(values)


class YoloFiles(DataFolder):
    """A label file beside each image, as YOLO has it."""

    def __init__(self, root, picture):
        super().__init__(root, picture)
        self.image_folder = root / "images"
        self.rows = {}
        self.sizes = {}

    def declare_image(self, name, *, width, height):
        self.rows[name], self.sizes[name] = [], (width, height)

    def add_box(self, image, box, class_name="cat"):
        x1, y1, x2, y2 = box
        width, height = self.sizes[image]
        shares = (
            (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height,
        )  # fmt: skip
        self.rows[image].append(" ".join(map(str, (self.classes.index(class_name), *shares))))

    def write(self):
        (self.root / "labels").mkdir(exist_ok=True)
        for name, rows in self.rows.items():
            path = self.root / "labels" / Path(name).with_suffix(".txt")
            path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        self.write_yaml({"path": ".", "train": "images", "names": list(self.classes)})


class KittiFolder(DataFolder):
    def __init__(self, root, picture):
        super().__init__(root, picture)
        self.image_folder = root / "training" / "image_2"
        self.label_folder = root / "training" / "label_2"
        self.image_list = []
        self.labels = {}
        self.settings = {"classes": list(self.classes)}

    def declare_image(self, name, **declared):
        self.image_list.append(Path(name).stem)
        self.labels[Path(name).stem] = []

    def add_box(self, image, box, class_name="cat", ignored=False):
        name = "DontCare" if ignored else class_name
        corners = " ".join(map(str, box))
        row = f"{name} 0.00 0 -1.57 {corners} 1.89 0.48 1.20 1.84 1.47 8.41 0.01"
        self.labels[Path(image).stem].append(row)

    def write(self):
        self.label_folder.mkdir(parents=True, exist_ok=True)
        for stem, rows in self.labels.items():
            text = "".join(f"{row}\n" for row in rows)
            (self.label_folder / f"{stem}.txt").write_text(text, encoding="utf-8")
        split = {"folder": "training"}
        if self.image_list is not None:
            text = "\n".join(self.image_list)
            (self.root / "train.txt").write_text(text, encoding="utf-8")
            split["image_list"] = "train.txt"
        self.write_yaml(
            {"format": "kitti", "root": ".", "splits": {"train": split}, **self.settings}
        )


class OpenImagesFolder(DataFolder):
    """Boxes of images of 64 x 64 pixels, so that shares of the image are exact."""

    columns = (
        "ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax",
        "IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside",
    )  # fmt: skip
    side = 64

    def __init__(self, root, picture):
        super().__init__(root, picture)
        self.image_folder = root / "images"
        self.image_list = None
        self.rows = []
        self.descriptions = "/m/01,dog\n/m/00,cat\n"

    def add_image(self, name="a.jpg", size=(64, 64), content=None, **declared):
        return super().add_image(name, size, content, **declared)

    def declare_image(self, name, **declared):
        pass

    def add_box(self, image, box, class_name="cat", ignored=False):
        x1, y1, x2, y2 = (side / self.side for side in box)
        name = {"cat": "/m/00", "dog": "/m/01"}.get(class_name, class_name)
        flags = [0, 0, int(ignored), 0, 0]
        self.rows.append([Path(image).stem, "xclick", name, 1, x1, x2, y1, y2, *flags])

    def text(self):
        return "".join(f"{','.join(map(str, row))}\n" for row in [self.columns, *self.rows])

    def write(self):
        (self.root / "boxes.csv").write_text(self.text(), encoding="utf-8")
        split = {"images": "images", "annotations": "boxes.csv"}
        if self.image_list is not None:
            (self.root / "list.txt").write_text("\n".join(self.image_list), encoding="utf-8")
            split["image_list"] = "list.txt"
        values = {"format": "open_images", "splits": {"train": split}}
        if self.descriptions is not None:
            values["classes"] = "classes.csv"
            (self.root / "classes.csv").write_text(self.descriptions, encoding="utf-8")
        self.write_yaml(values)


def _add_texts(node, texts):
    for tag, value in texts.items():
        ElementTree.SubElement(node, tag).text = str(value)


# Open Images is left out: it has no pixels, and lists no image without boxes.
FOLDERS = {"coco": CocoFolder, "csv": CsvFolder, "kitti": KittiFolder, "voc": VocFolder}


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


@pytest.fixture
def csv(tmp_path, picture):
    return CsvFolder(tmp_path, picture)


@pytest.fixture
def kitti(tmp_path, picture):
    return KittiFolder(tmp_path, picture)


@pytest.fixture
def open_images(tmp_path, picture):
    return OpenImagesFolder(tmp_path, picture)


@pytest.fixture(params=sorted(FOLDERS))
def folder(request, tmp_path, picture):
    """A data folder of each format."""
    return FOLDERS[request.param](tmp_path, picture)


@pytest.fixture(params=["coco", "voc"])
def sized_folder(request, tmp_path, picture):
    """A data folder of each format that tells the sizes of the images."""
    return FOLDERS[request.param](tmp_path, picture)


@pytest.fixture(params=["coco", "kitti", "voc"])
def ignoring_folder(request, tmp_path, picture):
    """A data folder of each format that has regions to ignore."""
    return FOLDERS[request.param](tmp_path, picture)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets."""
    default = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("KERAS_RETINANET_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no real data: {path} is missing; KERAS_RETINANET_DATA names the folder")
    return path
