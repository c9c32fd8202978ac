"""Time and memory of reading as many boxes as Open Images' training set has.

Writes annotations of that size into a temporary folder (1.2 GB), reads them, and cleans them. There
are no image files: in cleaning, the reading of their headers is replaced by one fixed size.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure

HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
    "IsDepiction,IsInside\n"
)
TEMPLATE_ROWS = 100_000
MEGABYTE = 2**20


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--boxes", type=int, default=14_610_229)
    parser.add_argument("--images", type=int, default=1_743_042)
    parser.add_argument("--classes", type=int, default=601)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    options = parser.parse_args()

    from keras_retinanet.data import cleaning
    from keras_retinanet.data.formats.open_images import read_open_images
    from keras_retinanet.data.images.inspection import ImageHeader

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        annotations = Path(folder) / "train-annotations-bbox.csv"
        classes = Path(folder) / "class-descriptions-boxable.csv"
        names = [f"/m/0{number:x}" for number in range(7, 7 + 997 * options.classes, 997)]
        classes.write_text("".join(f"{name},class {name[3:]}\n" for name in names))
        write_annotations(annotations, options.boxes, options.images, names)
        result = {"boxes": options.boxes, "images": options.images}
        result["file_mb"] = annotations.stat().st_size / MEGABYTE
        result["rss_before_mb"] = peak_rss()

        start = time.perf_counter(), time.process_time()
        raw = read_open_images(Path(folder) / "images", annotations, classes)
        result["read_seconds"], result["read_cpu_seconds"] = since(start)
        result["rss_after_reading_mb"] = peak_rss()
        result["raw_arrays_mb"], result["raw_texts_mb"] = held(raw)
        assert (len(raw.boxes), len(raw.image_ids)) == (options.boxes, options.images)

        cleaning.inspect_images = lambda paths, decode: [ImageHeader(768, 1024) for _ in paths]
        start = time.perf_counter(), time.process_time()
        dataset = cleaning.clean(raw)
        result["clean_seconds"], result["clean_cpu_seconds"] = since(start)
        result["rss_after_cleaning_mb"] = peak_rss()
        del raw
        result["dataset_arrays_mb"], result["dataset_texts_mb"] = held(dataset)
        result["findings"] = len(dataset.findings)

    print(
        f"{options.boxes:,} boxes of {options.images:,} images, {result['file_mb']:.0f} MB of CSV\n"
        f"read: {result['read_seconds']:.1f} s (CPU {result['read_cpu_seconds']:.1f} s); "
        f"arrays {result['raw_arrays_mb']:.0f} MB, ids and paths {result['raw_texts_mb']:.0f} MB\n"
        f"cleaned: {result['clean_seconds']:.1f} s (CPU {result['clean_cpu_seconds']:.1f} s); "
        f"data set: arrays {result['dataset_arrays_mb']:.0f} MB, ids and paths "
        f"{result['dataset_texts_mb']:.0f} MB\n"
        f"peak RSS: {result['rss_before_mb']:.0f} MB before (TensorFlow is loaded), "
        f"{result['rss_after_reading_mb']:.0f} MB after reading, "
        f"{result['rss_after_cleaning_mb']:.0f} MB after cleaning"
    )
    measure.finish(result, options.json)


def write_annotations(path: Path, num_boxes: int, num_images: int, names: list[str]) -> None:
    """Write boxes as the training set has them: image by image, six decimals, 13 columns."""
    with path.open("w") as file:
        file.write(HEADER)
        templates = list(rows_without_id(names))
        ids = image_ids(num_boxes, num_images)
        for start in range(0, num_boxes, TEMPLATE_ROWS):
            rows = templates[: num_boxes - start]
            file.write("".join(f"{next(ids)}{row}" for row in rows))


def image_ids(num_boxes: int, num_images: int) -> Iterator[str]:
    """Yield the image of each box; the numbers of boxes are as even as possible."""
    for image in range(num_images):
        name = f"{image * 10_000_000_019 % 2**64:016x}"
        for _ in range((image + 1) * num_boxes // num_images - image * num_boxes // num_images):
            yield name


def rows_without_id(names: list[str]) -> Iterator[str]:
    import numpy as np

    rng = np.random.default_rng(0)
    corners = np.sort(rng.random((TEMPLATE_ROWS, 2, 2)), axis=2)
    corners[rng.random(corners.shape) < 0.02] = 0  # many real boxes end at the border
    corners[:, :, 1] += corners[:, :, 1] <= corners[:, :, 0]
    labels = rng.integers(0, len(names), TEMPLATE_ROWS)
    groups = rng.random(TEMPLATE_ROWS) < 0.05
    for ((x1, x2), (y1, y2)), label, group in zip(corners, labels, groups, strict=True):
        yield (f",xclick,{names[label]},1,{x1:.6f},{x2:.6f},{y1:.6f},{y2:.6f},0,0,{group:d},0,0\n")


def since(start: tuple[float, float]) -> tuple[float, float]:
    return time.perf_counter() - start[0], time.process_time() - start[1]


def peak_rss() -> float:
    """Return the most memory that the process has had so far, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def held(data: Any) -> tuple[float, float]:
    """Return the megabytes of the arrays, and of the texts in lists, with the lists."""
    import numpy as np

    values = list(vars(data).values())
    # The lines of the boxes are held by the function that names them.
    values += [c.cell_contents for c in getattr(vars(data).get("describe_box"), "__closure__", ())]
    # What an array was cut from is held, too.
    arrays = {id(a): a for a in (base_of(v) for v in values if isinstance(v, np.ndarray))}
    texts = sum(
        sys.getsizeof(v) + sum(map(sys.getsizeof, v))
        for v in values
        if isinstance(v, list) and v and isinstance(v[0], str)
    )
    return sum(a.nbytes for a in arrays.values()) / MEGABYTE, texts / MEGABYTE


def base_of(array: Any) -> Any:
    while array.base is not None:
        array = array.base
    return array


if __name__ == "__main__":
    main()
