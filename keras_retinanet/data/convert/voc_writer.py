"""Writer of Pascal VOC's format: JPEGImages/, Annotations/, ImageSets/Main/SPLIT.txt."""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from keras_retinanet.data.convert.output import Output
from keras_retinanet.data.convert.split import Job, Plan, Split, exact, tidy
from keras_retinanet.data.dataset import Finding
from keras_retinanet.errors import DataError

# What XML 1.0 cannot hold, or gives back as a blank.
_NOT_IN_XML = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def plan_voc(splits: Sequence[Split], output: Output) -> Plan:
    """Pixel indices are 1-based and inclusive; corners between pixels keep their decimals. Crowds
    become objects marked difficult. An image of several splits is written once.

    Raises:
        DataError: a class name cannot be written in XML; an image has other objects in one split
            than in another.
    """
    _refuse_bad_names(splits[0].dataset.class_names)
    findings: list[Finding] = []
    jobs: list[Job] = []
    written: dict[str, tuple[Split, int]] = {}
    for split in splits:
        _report_small_boxes(split, findings)
        for i, name in enumerate(split.image_names):
            if name in written:
                if _xml(*written[name]) != _xml(split, i):
                    raise DataError(
                        f"{split.dataset.image_paths[i]} has other objects in the split "
                        f"{split.name!r} than in {written[name][0].name!r}: convert them one by one"
                    )
                continue
            written[name] = (split, i)
            jobs.append(Job(1, partial(_write, split, i, output)))

    def finish() -> None:
        for split in splits:
            lines = "".join(f"{os.path.splitext(name)[0]}\n" for name in split.image_names)
            output.write_text(f"ImageSets/Main/{split.name}.txt", lines)

    data_yaml = {
        "format": "voc",
        "root": ".",
        "first_pixel": 1,  # else corners between pixels would look as if counted from 0
        "classes": list(splits[0].dataset.class_names),
        "splits": {split.name: split.name for split in splits},
    }
    return Plan(jobs, finish, data_yaml, findings)


def _write(split: Split, i: int, output: Output) -> bool:
    name = split.image_names[i]
    was_there = output.put_image(f"JPEGImages/{name}", split.dataset.image_paths[i])
    place = f"Annotations/{os.path.splitext(name)[0]}.xml"
    return output.write_text(place, _xml(split, i)) and was_there


def _xml(split: Split, i: int) -> str:
    dataset = split.dataset
    root = ElementTree.Element("annotation")
    _add(root, {"folder": "JPEGImages", "filename": split.image_names[i]})
    size = {"width": dataset.widths[i], "height": dataset.heights[i], "depth": 3}
    _add(ElementTree.SubElement(root, "size"), size)
    _add(root, {"segmented": 0})
    rows = dataset.rows(i)
    # The first pixel's index is its left edge plus 1, the last one's its right edge.
    corners = exact(dataset.boxes[rows]) + np.array([1, 1, 0, 0])
    keep = _fits(corners)
    for label, is_ignored, box in zip(
        dataset.labels[rows][keep], dataset.is_ignored[rows][keep], corners[keep], strict=True
    ):
        node = ElementTree.SubElement(root, "object")
        name = dataset.class_names[label]
        _add(node, {"name": name, "pose": "Unspecified", "truncated": 0})
        _add(node, {"difficult": int(is_ignored)})
        sides = dict(zip(("xmin", "ymin", "xmax", "ymax"), tidy(box), strict=True))
        _add(ElementTree.SubElement(node, "bndbox"), sides)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(node: ElementTree.Element, texts: Mapping[str, object]) -> None:
    for tag, value in texts.items():
        ElementTree.SubElement(node, tag).text = str(value)


def _fits(corners: np.ndarray) -> np.ndarray:
    """Return which boxes [n, 4] have their last pixel behind their first, as readers expect."""
    return np.all(corners[:, 2:] > corners[:, :2], axis=1)


def _report_small_boxes(split: Split, findings: list[Finding]) -> None:
    dataset = split.dataset
    small = ~_fits(exact(dataset.boxes) + np.array([1, 1, 0, 0]))
    images = np.searchsorted(dataset.row_splits, np.flatnonzero(small), side="right") - 1
    for i in images:
        problem = "a box with a side of one pixel or less, which VOC cannot hold"
        findings.append(Finding(problem, dataset.image_paths[i], "box dropped"))


def _refuse_bad_names(class_names: Sequence[str]) -> None:
    for name in class_names:
        if name != name.strip() or not name or _NOT_IN_XML.search(name):
            raise DataError(
                f"VOC cannot hold the class name {name!r} (line breaks, blanks around it): rename "
                "the class, or convert to another format"
            )
