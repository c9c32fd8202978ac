"""CPU milliseconds that reading the labels takes in COCO, CSV, VOC and YOLO, without the images.

Needs no data set: 2,000 images of one pixel and 20,000 boxes are written to a temporary folder. To
compare two versions, run this same file with each of them first on PYTHONPATH, turn by turn.
"""

import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure

NUM_IMAGES, BOXES_PER_IMAGE, SIDE = 2000, 10, 500
CLASSES = ("cat", "dog", "bird")
Labels = list[list[tuple[int, int, int, int, int]]]


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--passes", type=int, default=7)
    options = parser.parse_args()

    from keras_retinanet.data import source

    class LabelsRead(Exception):
        """Ends a reading where the images would be looked at, which takes longest."""

    def stop(raw: Any, **_: Any) -> None:
        raise LabelsRead(len(raw.boxes))

    source.clean = stop

    result = {}
    with tempfile.TemporaryDirectory() as folder:
        labels = make_labels()
        write_images(Path(folder) / "images")
        for name, write in WRITERS.items():
            data = write(Path(folder) / name, labels)
            times = []
            for number in range(options.passes + 1):
                for file in data.parent.rglob("*"):
                    os.utime(file, ns=(number, number))  # as new: readers may keep what they read
                start = time.process_time()
                try:
                    source.load_dataset(data, "train")
                except LabelsRead as read:
                    (count,) = read.args
                times.append(1e3 * (time.process_time() - start))
            if count != NUM_IMAGES * BOXES_PER_IMAGE:
                raise SystemExit(f"{name}: {count} boxes were read")
            result[name] = {"cpu_ms": measure.spread(times[1:])}  # the first one imports
            print(f"{name}: min {min(times[1:]):.0f} ms")
    measure.finish(result, options.json)


def make_labels() -> Labels:
    rng = random.Random(0)
    return [
        [
            (
                rng.randrange(len(CLASSES)),
                (x := rng.randrange(SIDE - 60)),
                (y := rng.randrange(SIDE - 60)),
                x + rng.randrange(8, 60),
                y + rng.randrange(8, 60),
            )
            for _ in range(BOXES_PER_IMAGE)
        ]
        for _ in range(NUM_IMAGES)
    ]


def write_images(folder: Path) -> None:
    """Write images whose header alone is right: what is timed does not decode them."""
    from PIL import Image

    folder.mkdir()
    first = folder / image_name(0)
    Image.new("L", (SIDE, SIDE)).save(first)
    content = first.read_bytes()
    for i in range(1, NUM_IMAGES):
        (folder / image_name(i)).write_bytes(content)


def image_name(i: int) -> str:
    return f"image_{i:05d}.png"


def write_coco(folder: Path, labels: Labels) -> Path:
    folder.mkdir()
    content = {
        "images": [
            {"id": i, "file_name": image_name(i), "width": SIDE, "height": SIDE}
            for i in range(NUM_IMAGES)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES, start=1)],
        "annotations": [
            {
                "id": i * BOXES_PER_IMAGE + j,
                "image_id": i,
                "category_id": k + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            for i, boxes in enumerate(labels)
            for j, (k, x1, y1, x2, y2) in enumerate(boxes)
        ],
    }
    (folder / "train.json").write_text(json.dumps(content))
    return write_yaml(
        folder, "format: coco\nsplits: {train: {images: ../images, annotations: train.json}}\n"
    )


def write_csv(folder: Path, labels: Labels) -> Path:
    folder.mkdir()
    rows = [
        f"../images/{image_name(i)},{x1},{y1},{x2},{y2},{CLASSES[k]}\n"
        for i, boxes in enumerate(labels)
        for k, x1, y1, x2, y2 in boxes
    ]
    (folder / "train.csv").write_text("".join(rows))
    (folder / "classes.csv").write_text("".join(f"{n},{k}\n" for k, n in enumerate(CLASSES)))
    return write_yaml(folder, "format: csv\nclasses: classes.csv\nsplits: {train: train.csv}\n")


def write_voc(folder: Path, labels: Labels) -> Path:
    (folder / "Annotations").mkdir(parents=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "JPEGImages").symlink_to(folder.parent / "images")
    for i, boxes in enumerate(labels):
        objects = "".join(
            f"<object><name>{CLASSES[k]}</name><difficult>0</difficult><bndbox>"
            f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
            "</bndbox></object>"
            for k, x1, y1, x2, y2 in boxes
        )
        (folder / "Annotations" / f"{image_name(i)[:-4]}.xml").write_text(
            f"<annotation><filename>{image_name(i)}</filename><size><width>{SIDE}</width>"
            f"<height>{SIDE}</height><depth>3</depth></size>{objects}</annotation>"
        )
    names = "".join(f"{image_name(i)[:-4]}\n" for i in range(NUM_IMAGES))
    (folder / "ImageSets" / "Main" / "train.txt").write_text(names)
    return write_yaml(
        folder, f"format: voc\nroot: .\nclasses: [{', '.join(CLASSES)}]\nsplits: {{train: train}}\n"
    )


def write_yolo(folder: Path, labels: Labels) -> Path:
    (folder / "labels").mkdir(parents=True)
    (folder / "images").symlink_to(folder.parent / "images")
    for i, boxes in enumerate(labels):
        rows = "".join(
            f"{k} {(x1 + x2) / 2 / SIDE:.6f} {(y1 + y2) / 2 / SIDE:.6f} "
            f"{(x2 - x1) / SIDE:.6f} {(y2 - y1) / SIDE:.6f}\n"
            for k, x1, y1, x2, y2 in boxes
        )
        (folder / "labels" / f"{image_name(i)[:-4]}.txt").write_text(rows)
    return write_yaml(folder, f"train: images\nval: images\nnames: [{', '.join(CLASSES)}]\n")


def write_yaml(folder: Path, text: str) -> Path:
    path = folder / "data.yaml"
    path.write_text(text)
    return path


WRITERS: dict[str, Callable[[Path, Labels], Path]] = {
    "coco": write_coco,
    "csv": write_csv,
    "voc": write_voc,
    "yolo": write_yolo,
}

if __name__ == "__main__":
    main()
