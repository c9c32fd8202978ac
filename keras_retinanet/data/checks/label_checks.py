"""Labels that can be trained on but are worth a look: of images and boxes, and of classes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from keras_retinanet.data.checks.anchor_recall import AnchorRecall
from keras_retinanet.data.checks.finding_list import FindingList
from keras_retinanet.data.cleaning import BLOCK_SIZE, MAX_NORMALIZED
from keras_retinanet.data.crowded_images import BEYOND_CAP, crowded_images
from keras_retinanet.data.dataset import DetectionDataset, Finding
from keras_retinanet.data.raw_annotations import RawAnnotations

# Fewer objects of a class in the training split than this are hardly learnt.
FEW_OBJECTS = 20
MANY_OBJECTS = 1000

# Problem, what it concerns, and what to do.
_Remark = tuple[str, str, str]


def check_boxes(raw: RawAnnotations, dataset: DetectionDataset) -> FindingList:
    """Return what is remarkable about the images' boxes, as annotated in `raw`."""
    describe, paths = raw.describe_box, dataset.image_paths
    same_class = _repeated(raw.box_images, raw.labels, raw.boxes)
    any_class = _repeated(raw.box_images, np.zeros_like(raw.labels), raw.boxes)
    two_classes = np.setdiff1d(any_class, same_class, assume_unique=True)
    findings = FindingList()
    findings.add_kind("box annotated twice", "remove one", same_class, describe)
    findings.add_kind("box annotated with two classes", "remove one", two_classes, describe)
    normalized = _normalized_images(raw)
    findings.add_kind("boxes of an image look normalised", "correct them", normalized, describe)
    counts = np.diff(dataset.row_splits)
    findings.add_kind(
        "image without objects: trained as background",
        "noted",
        np.flatnonzero(counts == 0),
        paths.__getitem__,
    )
    num_objects = dataset.num_objects
    for i in crowded_images(dataset):
        where = f"{paths[i]}: {num_objects[i]} objects"
        findings.append(Finding(BEYOND_CAP, where, "noted"))
    for i in np.flatnonzero(counts >= MANY_OBJECTS):
        where = f"{paths[i]}: {counts[i]} boxes"
        findings.append(Finding(f"image with {MANY_OBJECTS} boxes or more", where, "noted"))
    findings.add_kind(
        "crowd or difficult object: ignored in training",
        "noted",
        np.flatnonzero(raw.is_ignored),
        describe,
    )
    return findings


def check_anchors(
    raws: Sequence[RawAnnotations], dataset: DetectionDataset, recall: AnchorRecall
) -> FindingList:
    """Return the objects that have no anchor."""
    finders = [BoxFinder(raw) for raw in raws]
    describe = [raw.describe_box for raw in raws]
    rows = recall.unmatched
    images = np.searchsorted(dataset.row_splits, rows, side="right") - 1
    # Of each, the annotations that it is in, and its place there; or none, and its image.
    sources, places = np.full(len(rows), -1), images.copy()
    for i, (image, row) in enumerate(zip(images.tolist(), rows.tolist(), strict=True)):
        for source, finder in enumerate(finders):
            place = finder.place(dataset, image, row)
            if place is not None:
                sources[i], places[i] = source, place
                break
    paths = dataset.image_paths

    def where(i: int) -> str:
        place = int(places[i])
        return paths[place] if sources[i] < 0 else describe[sources[i]](place)

    findings = FindingList()
    problem, mend = "object that no anchor matches", "see retinanet anchors"
    findings.add_kind(problem, mend, np.arange(len(rows)), where)
    return findings


def check_classes(datasets: dict[str, DetectionDataset], source: str) -> list[Finding]:
    """Return what is remarkable about the classes of all splits; `source` is named as the place."""
    names = list(dict.fromkeys(n for d in datasets.values() for n in d.class_names))
    counts = {split: count_objects(dataset) for split, dataset in datasets.items()}
    remarks: list[_Remark] = []
    for name in names:
        remarks += _class_remarks(name, {s: count.get(name, 0) for s, count in counts.items()})
    for group in _alike(names):
        problem = "class names that differ in case or spaces"
        remarks.append((problem, ", ".join(map(repr, group)), "merge"))
    for split, dataset in datasets.items():
        remarks += _category_id_remarks(split, dataset.category_ids)
        unknown = set(counts[split]) - set(datasets.get("train", dataset).class_names)
        for name in sorted(unknown):
            problem = "class that the split train does not know"
            remarks.append((problem, f"{split}: {name!r}", "add it"))
    return [Finding(problem, f"{source}: {what}", action) for problem, what, action in remarks]


def _class_remarks(name: str, num_objects: dict[str, int]) -> list[_Remark]:
    """Return what is remarkable about the numbers of a class's objects in the splits."""
    if not any(num_objects.values()):
        return [("class without any object", f"class {name!r}", "remove the class")]
    remarks: list[_Remark] = []
    in_train = num_objects.get("train")
    if in_train == 0:
        where = ", ".join(split for split, n in num_objects.items() if n)
        what = f"class {name!r}, only in {where}"
        remarks.append(("class that is never trained", what, "look at it"))
    elif in_train is not None and in_train < FEW_OBJECTS:
        problem = f"class with fewer than {FEW_OBJECTS} objects to train on"
        remarks.append((problem, f"class {name!r}, {in_train} in train", "noted"))
    if in_train and num_objects.get("val") == 0:
        what = f"class {name!r}, {in_train} objects in train"
        remarks.append(("class absent from val: its AP is n/a", what, "look at it"))
    return remarks


def _category_id_remarks(split: str, category_ids: Sequence[int]) -> list[_Remark]:
    ids = sorted(category_ids)
    if not ids or ids == list(range(1, len(ids) + 1)):
        return []
    kind = "begin at 0" if ids == list(range(len(ids))) else "have gaps"
    return [(f"category ids {kind}: mapped, and back in results", f"split {split}", "noted")]


class BoxFinder:
    """Finds where the boxes of a cleaned data set were annotated."""

    def __init__(self, raw: RawAnnotations) -> None:
        self._raw = raw
        images = raw.box_images
        is_sorted = len(images) < 2 or bool((images[1:] >= images[:-1]).all())
        self._order = None if is_sorted else np.argsort(images, kind="stable")
        counts = np.bincount(images, minlength=len(raw.image_paths))
        self._splits = np.concatenate([[0], np.cumsum(counts)])
        # Hashes in order, since a table of millions of paths needs much memory.
        hashes = np.fromiter(map(hash, raw.image_paths), np.int64, len(raw.image_paths))
        self._by_hash = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._by_hash]

    def boxes_of(self, path: str) -> np.ndarray:
        """Return the indices in the annotations of an image's boxes."""
        image = self._image_of(path)
        if image is None:
            return np.zeros(0, np.int64)
        start, end = self._splits[image : image + 2]
        return np.arange(start, end) if self._order is None else self._order[start:end]

    def place(self, dataset: DetectionDataset, image: int, row: int) -> int | None:
        """Return the index in the annotations of an object of the cleaned data set, if it is in
        these files."""
        name = dataset.class_names[dataset.labels[row]]
        if name not in self._raw.class_names:
            return None
        candidates = self.boxes_of(dataset.image_paths[image])
        label = self._raw.class_names.index(name)
        candidates = candidates[self._raw.labels[candidates] == label]
        if not len(candidates):
            return None
        boxes = self._raw.boxes[candidates]
        if self._raw.boxes_normalized:
            boxes = boxes * np.array([dataset.widths[image], dataset.heights[image]] * 2)
        # Clipping may have moved it a little.
        moved = np.abs(boxes - dataset.boxes[row]).sum(axis=1)
        return int(candidates[np.nanargmin(moved)])

    def _image_of(self, path: str) -> int | None:
        """Return the last image in the annotations that has this path."""
        end = int(np.searchsorted(self._hashes, hash(path), side="right"))
        while end > 0 and self._hashes[end - 1] == hash(path):
            end -= 1
            image = int(self._by_hash[end])
            if self._raw.image_paths[image] == path:
                return image
        return None


def count_objects(dataset: DetectionDataset) -> dict[str, int]:
    """Return the number of objects of each class that has some, ignored regions left out."""
    counts = np.bincount(dataset.labels[~dataset.is_ignored], minlength=len(dataset.class_names))
    return {name: int(n) for name, n in zip(dataset.class_names, counts, strict=True) if n}


def _repeated(images: np.ndarray, labels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return, in order, the rows that repeat an earlier row."""
    found = [np.zeros(0, np.int64)]
    for rows in _blocks_of_images(images):
        table = np.column_stack([images[rows], labels[rows], boxes[rows]])
        order = np.lexsort(table.T[::-1])  # stable: of equal rows the earlier comes first
        is_same = (table[order[1:]] == table[order[:-1]]).all(axis=1)
        found.append(rows[order[1:][is_same]])
    return np.sort(np.concatenate(found))


def _blocks_of_images(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows of all boxes, in blocks that hold all boxes of their images: what is made of
    a block needs little memory."""
    is_sorted = len(images) < 2 or bool((images[1:] >= images[:-1]).all())
    order = None if is_sorted else np.argsort(images, kind="stable")
    start = 0
    while start < len(images):
        last = min(start + BLOCK_SIZE, len(images)) - 1
        if order is None:
            end = int(np.searchsorted(images, images[last], side="right"))
            yield np.arange(start, end)
        else:
            end = int(np.searchsorted(images, images[order[last]], side="right", sorter=order))
            yield order[start:end]
        start = end


def _normalized_images(raw: RawAnnotations) -> np.ndarray:
    """Return the first box of each image of a data set in pixels whose boxes are not."""
    largest = np.full(len(raw.image_paths), -1.0)  # of an image without boxes
    for start in range(0, len(raw.boxes), BLOCK_SIZE):
        block = slice(start, start + BLOCK_SIZE)
        sides = np.abs(np.nan_to_num(raw.boxes[block])).max(axis=1)
        np.maximum.at(largest, raw.box_images[block], sides)
    if largest.max(initial=0) <= MAX_NORMALIZED:
        return np.zeros(0, np.int64)
    small = (largest >= 0) & (largest <= MAX_NORMALIZED)
    rows = np.flatnonzero(small[raw.box_images])
    _, first = np.unique(raw.box_images[rows], return_index=True)
    return rows[first]


def _alike(names: Sequence[str]) -> list[list[str]]:
    """Return the groups of names that are one without case and spaces."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups["".join(name.lower().split())].append(name)
    return [group for group in groups.values() if len(group) > 1]
