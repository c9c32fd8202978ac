"""DetectionDataset: labelled images as flat arrays; every reader returns one. Findings: what was
wrong with the files, and what was done about it."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from keras_retinanet.errors import DataError
from keras_retinanet.system.buckets.bucket_address import told

# Label of a region to ignore whatever the class, such as KITTI's DontCare.
ANY_CLASS = -1
# Of the classes, in what `repr` tells.
_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in the user's files.

    Attributes:
        problem: short and the same for all of its kind: what reports count.
        where: file, and the place in it.
        action: what was done: "image skipped", "box dropped", "box clipped", "box mended", "noted".
    """

    problem: str
    where: str
    action: str


@dataclass
class DetectionDataset:
    """Labelled images of one split.

    Boxes of image i are rows `row_splits[i]` to `row_splits[i + 1]` of `boxes`, `labels`,
    `is_ignored` and `areas`.

    Attributes:
        image_paths: N files.
        image_ids: the data set's own, as results files hold them.
        heights, widths: [N] int32, of the upright images (EXIF orientation applied).
        row_splits: [N + 1] int64.
        boxes: [T, 4] float32, xyxy in pixels of the upright image.
        labels: [T] int32, 0 ... K-1; regions to ignore may have ANY_CLASS.
        is_ignored: [T] bool: regions to ignore: crowds, difficult objects.
        areas: [T] float32, square pixels (of the segmentation, where there is one).
        class_names, category_ids: K names, and K ids of the data set itself.
        findings: what was wrong with the files.
        repeats: [N] float64, how often an epoch shows each image on average; None: once.
        windows: [N, 4] int32 xyxy, which part of its upright file an image is; None: all of it.
    """

    image_paths: list[str]
    image_ids: Sequence[int | str]
    heights: np.ndarray
    widths: np.ndarray
    row_splits: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    is_ignored: np.ndarray
    areas: np.ndarray
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    findings: list[Finding] = field(default_factory=list)
    repeats: np.ndarray | None = None
    windows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.image_paths)

    def __repr__(self) -> str:
        names = list(self.class_names[:_NAMES_SHOWN])
        more = len(self.class_names) - len(names)
        classes = ", ".join(names) + (f" and {more} more" if more > 0 else "")
        return (
            f"DetectionDataset: {len(self):,} images, {self.num_boxes:,} boxes, "
            f"{int(self.is_ignored.sum()):,} of them to ignore\n"
            f"{len(self.class_names)} classes: {classes}"
        )

    @property
    def num_boxes(self) -> int:
        return len(self.boxes)

    @property
    def num_objects(self) -> np.ndarray:
        """Number of objects in each image [N], ignored regions left out."""
        ignored = np.searchsorted(self.row_splits, np.flatnonzero(self.is_ignored), side="right")
        return np.diff(self.row_splits) - np.bincount(ignored - 1, minlength=len(self))

    def rows(self, image: int) -> slice:
        """Return where the boxes of an image are."""
        return slice(int(self.row_splits[image]), int(self.row_splits[image + 1]))

    def read_image(self, image: int) -> np.ndarray:
        """Return an image of the data set, upright RGB uint8 [H, W, 3], wherever it is stored.

        Raises:
            DataError: its file is missing or damaged.
        """
        # Here, since it brings TensorFlow, which the rest of a data set does without.
        from keras_retinanet.data.images.decoding import read_pixels

        pixels = read_pixels(self.image_paths[image])
        if self.windows is None:
            return pixels
        x1, y1, x2, y2 = self.windows[image]
        return pixels[y1:y2, x1:x2]

    def fingerprint(self) -> str:
        """Return what changes with the images or objects of the data set; files may move."""
        names = repr((self.class_names, self.image_ids)).encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(names)
        digest.update(self.boxes.tobytes() + self.labels.tobytes())
        return f"{len(self)} images, sha256 {digest.hexdigest()[:16]}"

    def select(self, images: Sequence[int] | np.ndarray) -> "DetectionDataset":
        """Return the data set of some of the images, in the given order; findings stay."""
        index = np.asarray(images, np.int64)
        counts = np.diff(self.row_splits)[index]
        row_splits = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        picked = np.repeat(self.row_splits[index] - row_splits[:-1], counts)
        picked += np.arange(row_splits[-1])
        return replace(
            self,
            image_paths=[self.image_paths[i] for i in index],
            image_ids=[self.image_ids[i] for i in index],
            heights=self.heights[index],
            widths=self.widths[index],
            row_splits=row_splits,
            boxes=self.boxes[picked],
            labels=self.labels[picked],
            is_ignored=self.is_ignored[picked],
            areas=self.areas[picked],
            repeats=None if self.repeats is None else self.repeats[index],
            windows=None if self.windows is None else self.windows[index],
        )

    def with_a_class_for_every_box(self) -> "DetectionDataset":
        """Return the data set with each region for ANY_CLASS as one region of every class."""
        is_any = self.labels == ANY_CLASS
        if not is_any.any():
            return self
        copies = np.where(is_any, len(self.class_names), 1)
        rows = np.repeat(np.arange(self.num_boxes), copies)
        labels = self.labels[rows]
        labels[is_any[rows]] = np.tile(np.arange(len(self.class_names)), int(is_any.sum()))
        return replace(
            self,
            row_splits=np.concatenate([[0], np.cumsum(copies)])[self.row_splits].astype(np.int64),
            boxes=self.boxes[rows],
            labels=labels,
            is_ignored=self.is_ignored[rows],
            areas=self.areas[rows],
        )

    def with_classes(self, class_names: Sequence[str]) -> "DetectionDataset":
        """Return the data set with labels in the order of a model's classes.

        Raises:
            DataError: the data set has a class that the model has not.
        """
        unknown = [name for name in self.class_names if name not in class_names]
        used = {self.class_names[label] for label in np.unique(self.labels) if label >= 0}
        if used & set(unknown):
            raise DataError(
                f"the data set has objects of class {sorted(used & set(unknown))} that the model "
                f"does not know; its classes are {list(class_names)}"
            )
        new_label = {name: i for i, name in enumerate(class_names)}
        # Unknown classes have no box, and ANY_CLASS finds itself at the end.
        mapping = [new_label.get(name, ANY_CLASS) for name in self.class_names] + [ANY_CLASS]
        # Classes that this data set lacks get ids of their own, above all of its ids.
        ids = dict(zip(self.class_names, self.category_ids, strict=True))
        free = itertools.count(max(self.category_ids, default=0) + 1)
        return replace(
            self,
            labels=np.array(mapping, np.int32)[self.labels],
            class_names=tuple(class_names),
            category_ids=tuple(ids[n] if n in ids else next(free) for n in class_names),
        )


def summarize(findings: Sequence[Finding]) -> list[str]:
    """Return one line for each kind of finding: count, problem, action and an example."""
    counts = Counter((f.problem, f.action) for f in findings)
    first: dict[tuple[str, str], str] = {}
    for f in findings:
        first.setdefault((f.problem, f.action), f.where)
    return [
        f"{count} x {problem}: {action} (first: {first[problem, action]})"
        for (problem, action), count in counts.most_common()
    ]


def write_findings(findings: Sequence[Finding], path: Path) -> None:
    """Write all findings as JSON, with their counts."""
    counts = Counter(f.problem for f in findings)
    path.write_text(
        json.dumps(
            {
                "counts": dict(counts),
                "findings": [{**asdict(f), "where": told(f.where)} for f in findings],
            },
            indent=1,
            ensure_ascii=False,
        )
    )
