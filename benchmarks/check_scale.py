"""Time and memory of `retinanet data check` in shares, and of their merging, by number of images.

Annotations are as many as Open Images' training set has, its images links to a few small files, in
a temporary folder: at the full size some 1.5 GB. One share of eight is read; the parts of the
others, which would be like it, are written from the few files. What is merged is then what all
shares would have given; `--all-shards` reads them all. Each measured step is a process of its own;
the memory is the most that it has had, TensorFlow included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
from conversion_scale import FULL_BOXES, FULL_IMAGES, NUM_PICTURES, make
from open_images_memory import peak_rss

STEPS = ("shard", "merge", "check")


def main() -> None:
    parser = measure.parser(__doc__)
    sizes = [FULL_IMAGES // 16, FULL_IMAGES // 8, FULL_IMAGES]
    parser.add_argument("--images", type=int, nargs="+", default=sizes)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--all-shards", action="store_true")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS[:2])
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--worker", choices=(*STEPS, "make"), help=argparse.SUPPRESS)
    parser.add_argument("--index", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker == "make":
        options.folder.mkdir(exist_ok=True)
        make(options.folder, options.images[0])
        return
    if options.worker:
        print(json.dumps(run(options)))
        return
    rows: list[dict[str, Any]] = []
    for num_images in options.images:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            make(Path(folder), num_images)
            for step in options.steps:
                many = options.shards if step == "shard" and options.all_shards else 1
                for index in range(many):
                    rows.append(run_apart(step, index, folder, num_images, options.shards))
                    print(line(rows[-1]), flush=True)
    measure.finish({"rows": rows}, options.json)


def run_apart(step: str, index: int, folder: str, num_images: int, shards: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", step, "--folder", folder]
    command += ["--images", str(num_images), "--shards", str(shards), "--index", str(index)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def line(row: dict[str, Any]) -> str:
    each = row["cpu_seconds"] / row["images"] * 1e6
    return (
        f"{row['step']:6} {row['images']:>9,} images, {row['boxes']:>10,} boxes: "
        f"{row['seconds']:6.1f} s, CPU {row['cpu_seconds']:6.1f} s ({each:.0f} us an image), "
        f"peak RSS {row['rss_mib']:.0f} MiB ({row['rss_before_mib']:.0f} before); {row['told']}"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do a step; return its time and memory."""
    from keras_retinanet.data.checks.check import check_dataset
    from keras_retinanet.data.checks.shards.check_shard import check_shard, merge_check
    from keras_retinanet.system.shards.shard import Shard

    data, parts = options.folder / "data.yaml", options.folder / "parts"
    if options.worker == "merge":
        write_other_parts(parts, options.folder / "pictures")
    before, start, cpu = peak_rss(), time.perf_counter(), time.process_time()
    if options.worker == "shard":
        path, count = check_shard(data, (), Shard(options.index, options.shards), parts)
        told = f"{count:,} images read into {path.stat().st_size / 2**20:.0f} MiB"
    else:
        report = merge_check([parts], data) if options.worker == "merge" else check_dataset(data)
        told = f"{len(report.findings):,} findings of {report.num_images:,} images"
        report_bytes = sum(len(json.dumps(entry)) for entry in report.entries())
        told += f", {report_bytes / 2**20:.0f} MiB of JSON"
    return {
        "step": options.worker,
        "images": options.images[0],
        "boxes": round(options.images[0] / FULL_IMAGES * FULL_BOXES),
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "rss_before_mib": before,
        "rss_mib": peak_rss(),
        "told": told,
    }


def write_other_parts(parts: Path, pictures: Path) -> None:
    """Write the parts that are missing, from the pictures that the images are links to."""
    from keras_retinanet.data.checks.shards.files_of_parts import image_row
    from keras_retinanet.data.checks.shards.image_lists import BATCH_SIZE
    from keras_retinanet.data.images.inspection import inspect_images
    from keras_retinanet.data.images.scan import scan_images
    from keras_retinanet.system.shards.part_file import (
        PartHeader,
        open_part,
        part_path,
        read_header,
    )

    first = read_header(next(parts.glob("part-*.jsonl")))
    paths = [str(pictures / f"{number}.jpg") for number in range(NUM_PICTURES)]
    headers, scans = inspect_images(paths, decode=False), scan_images(paths, with_looks=False)
    rows = [image_row(*both) for both in zip(headers, scans, strict=True)]
    ((_, num_images),) = first.work["images"]
    starts = range(0, num_images, BATCH_SIZE)
    for shard in range(first.count):
        path = part_path(parts, shard, first.count)
        if path.exists():
            continue
        with open_part(path, PartHeader(first.kind, shard, first.count, first.work)) as writer:
            assert writer is not None
            for batch in range(shard, len(starts), first.count):
                images = range(starts[batch], min(starts[batch] + BATCH_SIZE, num_images))
                writer.add(batch, [rows[image % NUM_PICTURES] for image in images])
            writer.finish()


if __name__ == "__main__":
    main()
