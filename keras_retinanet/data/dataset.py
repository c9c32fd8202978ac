"""DetectionDataset: labelled images as flat arrays; every reader returns one. Findings: what was
wrong with the files, and what was done about it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from keras_retinanet.errors import DataError


@dataclass(frozen=True)
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
    `is_crowd` and `areas`.

    Attributes:
        image_paths: N files.
        image_ids: the data set's own, as results files hold them.
        heights, widths: [N] int32, of the upright images (EXIF orientation applied).
        row_splits: [N + 1] int64.
        boxes: [T, 4] float32, xyxy in pixels of the upright image.
        labels: [T] int32, 0 ... K-1.
        is_crowd: [T] bool: regions to ignore: crowds, difficult objects.
        areas: [T] float32, square pixels (of the segmentation, where there is one).
        class_names: K names.
        category_ids: K ids of the data set itself.
        findings: what was wrong with the files.
        repeats: [N] float64, how often an epoch shows each image on average; None: once.
    """

    image_paths: list[str]
    image_ids: list[int | str]
    heights: np.ndarray
    widths: np.ndarray
    row_splits: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    is_crowd: np.ndarray
    areas: np.ndarray
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    findings: list[Finding] = field(default_factory=list)
    repeats: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.image_paths)

    @property
    def num_boxes(self) -> int:
        return len(self.boxes)

    @property
    def num_objects(self) -> np.ndarray:
        """Number of objects in each image [N], ignored regions left out."""
        objects_before = np.concatenate([[0], np.cumsum(~self.is_crowd)])
        return np.diff(objects_before[self.row_splits])

    def rows(self, image: int) -> slice:
        """Return where the boxes of an image are."""
        return slice(int(self.row_splits[image]), int(self.row_splits[image + 1]))

    def select(self, images: Sequence[int]) -> "DetectionDataset":
        """Return the data set of some of the images, in the given order; findings stay."""
        rows = [np.arange(self.row_splits[i], self.row_splits[i + 1]) for i in images]
        picked = np.concatenate(rows).astype(np.int64) if rows else np.zeros(0, np.int64)
        return replace(
            self,
            image_paths=[self.image_paths[i] for i in images],
            image_ids=[self.image_ids[i] for i in images],
            heights=self.heights[list(images)],
            widths=self.widths[list(images)],
            row_splits=np.cumsum([0, *(len(r) for r in rows)]).astype(np.int64),
            boxes=self.boxes[picked],
            labels=self.labels[picked],
            is_crowd=self.is_crowd[picked],
            areas=self.areas[picked],
            repeats=None if self.repeats is None else self.repeats[list(images)],
        )

    def with_classes(self, class_names: Sequence[str]) -> "DetectionDataset":
        """Return the data set with labels in the order of a model's classes.

        Raises:
            DataError: the data set has a class that the model has not.
        """
        unknown = [name for name in self.class_names if name not in class_names]
        used = {self.class_names[label] for label in np.unique(self.labels)}
        if used & set(unknown):
            raise DataError(
                f"the data set has objects of class {sorted(used & set(unknown))} that the model "
                f"does not know; its classes are {list(class_names)}"
            )
        new_label = {name: i for i, name in enumerate(class_names)}
        mapping = np.array([new_label.get(name, -1) for name in self.class_names], np.int32)
        # Classes that this data set lacks get ids of their own, above all of its ids.
        ids = dict(zip(self.class_names, self.category_ids, strict=True))
        free = iter(range(max(self.category_ids, default=0) + 1, 2**31))
        return replace(
            self,
            labels=mapping[self.labels] if len(self.labels) else self.labels,
            class_names=tuple(class_names),
            category_ids=tuple(ids[n] if n in ids else next(free) for n in class_names),
        )


def summarize(findings: Sequence[Finding]) -> list[str]:
    """Return one line for each kind of finding: count, problem, action and an example."""
    counts = Counter((f.problem, f.action) for f in findings)
    first = {}
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
            {"counts": dict(counts), "findings": [vars(f) for f in findings]},
            indent=1,
            ensure_ascii=False,
        )
    )
