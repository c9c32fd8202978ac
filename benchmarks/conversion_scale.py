"""Time and memory of a share of a conversion to TFRecords and of data check, by number of images.

Writes annotations as Open Images' training set has them, and its images as links to a few small
files, into a temporary folder: at the full size some 2.5 GB with one share of eight. Each measured
step is a process of its own; the memory is the most that it has had.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure
from open_images_memory import image_ids, peak_rss, write_annotations

FULL_IMAGES, FULL_BOXES, NUM_CLASSES = 1_743_042, 14_610_229, 601
NUM_PICTURES, SIDE = 50, 32
FILES_AT_FULL_SIZE = 4400  # of 128 MB each, for 561 GB
STEPS = ("convert", "check")


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument(
        "--images", type=int, nargs="+", default=[FULL_IMAGES // 16, FULL_IMAGES // 4, FULL_IMAGES]
    )
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--worker", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(run(options.worker, options.folder, options.images[0], options.shards)))
        return
    rows: list[dict[str, Any]] = []
    for num_images in options.images:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            make(Path(folder), num_images)
            for step in options.steps:
                command = [sys.executable, __file__, "--worker", step, "--folder", folder]
                command += ["--images", str(num_images), "--shards", str(options.shards)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rows.append({"step": step, **json.loads(done.stdout.splitlines()[-1])})
                print(line(rows[-1]), flush=True)
    measure.finish({"rows": rows}, options.json)


def line(row: dict[str, Any]) -> str:
    each = row["seconds"] / row["images"] * 1e6
    return (
        f"{row['step']:8} {row['images']:>9,} images, {row['boxes']:>10,} boxes: "
        f"{row['seconds']:7.1f} s ({each:.0f} us an image, CPU {row['cpu_seconds']:.1f} s), "
        f"peak RSS {row['rss_mb']:.0f} MB ({row['rss_before_mb']:.0f} MB before); {row['told']}"
    )


def make(folder: Path, num_images: int) -> None:
    """Write annotations, classes, pictures and the links to them."""
    import numpy as np
    from PIL import Image

    num_boxes = round(num_images / FULL_IMAGES * FULL_BOXES)
    names = [f"/m/0{number:x}" for number in range(7, 7 + 997 * NUM_CLASSES, 997)]
    classes = "".join(f"{name},class {name[3:]}\n" for name in names)
    (folder / "class-descriptions-boxable.csv").write_text(classes)
    write_annotations(folder / "train-annotations-bbox.csv", num_boxes, num_images, names)
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for number in range(NUM_PICTURES):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.jpg", quality=10)
    (folder / "train").mkdir()
    for number, name in enumerate(unique(image_ids(num_boxes, num_images))):
        target = Path("..", "pictures", f"{number % NUM_PICTURES}.jpg")
        (folder / "train" / f"{name}.jpg").symlink_to(target)
    (folder / "data.yaml").write_text(
        "format: open_images\nclasses: class-descriptions-boxable.csv\n"
        "splits: {train: {images: train, annotations: train-annotations-bbox.csv}}\n"
    )


def unique(names: Iterator[str]) -> Iterator[str]:
    last = None
    for name in names:
        if name != last:
            yield name
        last = name


def run(step: str, folder: Path, num_images: int, num_shards: int) -> dict[str, Any]:
    """Do a step; return its time and memory."""
    from keras_retinanet.data.checks.check import check_dataset
    from keras_retinanet.data.convert.convert import convert
    from keras_retinanet.system.shards.shard import Shard

    data = folder / "data.yaml"
    before, start, cpu = peak_rss(), time.perf_counter(), time.process_time()
    if step == "convert":
        num_files = max(num_shards, round(FILES_AT_FULL_SIZE * num_images / FULL_IMAGES))
        shard = Shard(0, num_shards)
        done = convert(data, folder / "out", target="tfrecord", num_shards=num_files, shard=shard)
        told = f"{done.num_images:,} images, {done.num_boxes:,} boxes written"
        count = done.num_images
    else:
        report = check_dataset(data)
        count = report.num_images
        told = f"{count:,} images read, {len(report.findings):,} findings"
    assert count > 0
    boxes = round(num_images / FULL_IMAGES * FULL_BOXES)
    return {
        "images": num_images,
        "boxes": boxes,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "rss_before_mb": before,
        "rss_mb": peak_rss(),
        "told": told,
    }


if __name__ == "__main__":
    main()
