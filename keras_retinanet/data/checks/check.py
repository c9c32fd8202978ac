"""Checking a data set: all that is wrong or remarkable in its files, at once, with the places."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.data.checks.anchor_recall import AnchorRecall
from keras_retinanet.data.checks.conversion_check import check_conversion
from keras_retinanet.data.checks.duplicates import find_duplicates, find_lookalikes, unions
from keras_retinanet.data.checks.finding_list import FindingList, Kind
from keras_retinanet.data.checks.image_files import ImageFiles
from keras_retinanet.data.checks.label_checks import (
    BoxFinder,
    check_anchors,
    check_boxes,
    check_classes,
)
from keras_retinanet.data.checks.split_images import SplitImages
from keras_retinanet.data.checks.statistics import describe_dataset
from keras_retinanet.data.checks.unused_images import UsedImages, unused_images
from keras_retinanet.data.cleaning import BOX_OF_NO_IMAGE
from keras_retinanet.data.dataset import DetectionDataset, Finding
from keras_retinanet.data.faults import STOPS_TRAINING, CollectedFaults, collect_faults
from keras_retinanet.data.images.address import file_of
from keras_retinanet.data.lost_labels import BOX_DROPPED, refuse_lost_labels
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.data.source import (
    VAL,
    data_folder,
    how_to_split,
    load_dataset,
    split_names,
)
from keras_retinanet.errors import DataError
from keras_retinanet.system.buckets.bucket_address import told

SEVERITIES = ("note", "warning", "error")
# Noted, and read; but the boxes may be those of another picture.
_SUSPICIOUS = "annotated image size differs"

UNREADABLE = "annotations that cannot be read"

# (stage, images done, images in all)
Progress = Callable[[str, int, int], None]


@dataclass
class CheckReport:
    """What `check_dataset` found.

    Attributes:
        findings: of all splits; what two splits share is there once. Places are written anew each
            time that they are asked for.
        statistics: `describe_dataset` of each split.
        num_images: images read.
        folder: the data set's; in `as_json`, files below it are named relative to it.
    """

    findings: FindingList = field(default_factory=FindingList)
    statistics: dict[str, dict[str, Any]] = field(default_factory=dict)
    num_images: int = 0
    folder: Path = Path()

    @property
    def exit_status(self) -> int:
        """0 with notes at most, 1 with warnings, 2 with errors."""
        return max((SEVERITIES.index(_severity(*kind)) for kind in self._kinds), default=0)

    @cached_property
    def _kinds(self) -> dict[Kind, int]:
        return self.findings.count_kinds()

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield each finding with its severity and place, ready for JSON."""
        folder = self.folder
        tops = tuple(dict.fromkeys((os.path.abspath(folder), os.path.realpath(folder))))
        for f in self.findings:
            yield {
                "severity": severity(f),
                "problem": f.problem,
                "action": f.action,
                **_short_place(split_place(f.where), folder, tops),
            }

    def as_json(self) -> dict[str, Any]:
        """Return all of it, ready for JSON; `entries` needs less memory."""
        return {**self.head(), "findings": list(self.entries()), "statistics": self.statistics}

    def head(self) -> dict[str, Any]:
        """Return what the JSON begins with: all but the findings and statistics."""
        counts = dict.fromkeys(SEVERITIES, 0)
        for kind, number in self._kinds.items():
            counts[_severity(*kind)] += number
        return {
            "exit_status": self.exit_status,
            "folder": told(os.path.abspath(self.folder)),
            "images": self.num_images,
            "counts": counts,
        }


def severity(finding: Finding) -> str:
    """Return "error" if training stops at it, "note" if nothing is lost, else "warning"."""
    return _severity(finding.problem, finding.action)


def _severity(problem: str, action: str) -> str:
    if action == STOPS_TRAINING:
        return "error"
    is_note = action in ("noted", "left out") and not problem.startswith(_SUSPICIOUS)
    return "note" if is_note else "warning"


def check_dataset(
    data_yaml: str | Path,
    splits: Sequence[str] = (),
    *,
    decode: bool = False,
    measure_anchors: Callable[[DetectionDataset], AnchorRecall] | None = None,
    files: ImageFiles | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> CheckReport:
    """Read a data set as training does, and go on where training stops.

    Args:
        splits: by default all.
        decode: decode every image to its end, and compare how images of different splits look.
        measure_anchors: tells how anchors fit a split; objects without an anchor are reported.
        files: what is known of the image files; by default they are read.
        progress: called after each image.

    Raises:
        ConfigError: the YAML cannot be used.
    """
    known, wanted = split_names(data_yaml), wanted_splits(data_yaml, splits)
    files = files or ImageFiles()
    checked = [
        _check_split(data_yaml, split, decode, measure_anchors, files, progress) for split in wanted
    ]
    folder = data_folder(data_yaml)
    findings = FindingList(
        check_conversion(folder, partial(progress, "checksums"), files.fault_of_file)
    )
    for part in checked:
        findings.extend(part.findings)
    datasets = {part.split: part.dataset for part in checked if part.dataset is not None}
    images = [part.images for part in checked if part.images is not None]
    unions_of_train = unions(images)
    images = [one for one in images if one.split not in unions_of_train]
    findings.extend(find_duplicates(images))
    findings.extend(find_lookalikes(images))
    for split in unions_of_train:
        problem = "split that holds all of train: not compared with the others"
        findings.append(Finding(problem, f"{data_yaml}: {split}", "noted"))
    findings.extend(check_classes(datasets, str(data_yaml)))
    if VAL not in wanted + known:
        where = f"{data_yaml}: to have one: {how_to_split(data_yaml)}"
        findings.append(Finding("no split val: training measures nothing", where, "noted"))
    if set(wanted) == set(known):
        findings.extend(unused_images([part.used for part in checked]))
    return CheckReport(
        # Two splits may share images, and all splits share the annotations of a VOC folder.
        findings=findings.unique(),
        statistics={split: describe_dataset(dataset) for split, dataset in datasets.items()},
        num_images=sum(part.num_images for part in checked),
        folder=folder,
    )


def wanted_splits(data_yaml: str | Path, splits: Sequence[str]) -> list[str]:
    """Return the splits to check in one order, whatever that of `splits`; by default all."""
    known = split_names(data_yaml)
    wanted = [split for split in known if split in splits] if splits else known
    return wanted + [split for split in splits if split not in known]


def split_place(where: str) -> dict[str, Any]:
    """Return "file", "line" (or None) and "place" within it of a finding's `where`."""
    ends = [m.start() for m in re.finditer(r":(?!//)", where)] + [len(where)]
    # File names may hold colons: the longest that is there is meant.
    there = [end for end in ends if os.path.lexists(where[:end])]
    end = max(there) if there else ends[0]
    rest = where[end:]
    line = re.match(r":(\d+)", rest)
    place = rest[line.end() if line else 0 :].removeprefix(":").removeprefix(" ")
    return {"file": where[:end], "line": int(line[1]) if line else None, "place": place or None}


def _short_place(place: dict[str, Any], folder: Path, tops: tuple[str, ...]) -> dict[str, Any]:
    """Return a place with the files below the data set's folder relative to it.

    Args:
        tops: the folder's absolute paths.
    """
    file = place["file"]
    if os.path.lexists(file):
        file = os.path.abspath(file)
        inside = [file[len(top) + 1 :] for top in tops if file.startswith(f"{top}{os.sep}")]
        file = inside[0] if inside else "." if file in tops else file
    rest = place["place"]
    is_command = rest and "retinanet " in rest  # which is to be pasted as it is
    for top in (*tops, os.fspath(folder)):
        if rest and not is_command and top not in ("", "."):
            rest = rest.replace(f"{top}{os.sep}", "")
    return {**place, "file": told(file), "place": rest and told(rest)}


@dataclass
class _CheckedSplit:
    """What is known of one split.

    Attributes:
        findings: what is wrong with it, taken by itself.
        used: the images that its annotations name.
        dataset: what training would read; None if it cannot.
        num_images: images that training would begin with.
        images: the files among them.
    """

    split: str
    findings: FindingList
    used: UsedImages
    dataset: DetectionDataset | None = None
    num_images: int = 0
    images: SplitImages | None = None


def _check_split(
    data_yaml: str | Path,
    split: str,
    decode: bool,
    measure_anchors: Callable[[DetectionDataset], AnchorRecall] | None,
    files: ImageFiles,
    progress: Progress,
) -> _CheckedSplit:
    """Read a split and its images; the arguments are those of `check_dataset`."""
    dataset, faults = _read(data_yaml, split, decode, files, progress)
    findings = FindingList(faults.findings)
    checked = _CheckedSplit(split, findings, UsedImages(raw.image_paths for raw in faults.raws))
    if dataset is None:
        return checked
    checked.num_images = len(dataset)
    paths = dataset.image_paths
    is_file = np.fromiter((os.path.isfile(file_of(path)) for path in paths), bool, len(paths))
    in_files = paths if is_file.all() else [paths[i] for i in np.flatnonzero(is_file)]
    on_image = _counter(progress, f"{split}: contents", len(in_files))
    scans = files.scans(in_files, with_looks=decode, on_image=on_image)
    checked.images = SplitImages(split, in_files, scans)
    findings.extend(checked.images.findings())
    damaged = {in_files[i] for i in checked.images.damaged}
    if damaged:
        findings.extend(_boxes_of(damaged, faults.raws, findings))
        dataset = dataset.select([i for i, path in enumerate(paths) if path not in damaged])
    for raw in faults.raws:
        findings.extend(check_boxes(raw, dataset))
    if measure_anchors is not None:
        findings.extend(check_anchors(faults.raws, dataset, measure_anchors(dataset)))
    checked.dataset = dataset
    return checked


def _boxes_of(
    damaged: Collection[str], raws: Sequence[RawAnnotations], findings: Iterable[Finding]
) -> list[Finding]:
    """Return the boxes of images whose content turned out to be damaged, but for those that have a
    fault of their own."""
    known = {f.where for f in findings if f.action in (BOX_DROPPED, STOPS_TRAINING)}
    places = []
    for raw in raws:
        finder = BoxFinder(raw)
        for path in filter(damaged.__contains__, raw.image_paths):
            places += [raw.describe_box(int(t)) for t in finder.boxes_of(path)]
    return [Finding(BOX_OF_NO_IMAGE, place, BOX_DROPPED) for place in places if place not in known]


def _read(
    data_yaml: str | Path, split: str, decode: bool, files: ImageFiles, progress: Progress
) -> tuple[DetectionDataset | None, CollectedFaults]:
    """Return a split, if anything of it can be used, and all that is wrong with it."""
    with collect_faults() as faults:

        def on_read(raw: RawAnnotations) -> None:
            stage = f"{split}: {'decoding' if decode else 'headers'}"
            faults.on_image = _counter(progress, stage, len(raw.image_paths))

        faults.on_read, faults.read_headers = on_read, files.headers
        progress(f"{split}: annotations", 0, 0)
        try:
            dataset = load_dataset(data_yaml, split, decode_images=decode)
            refuse_lost_labels(dataset, f"{data_yaml}: {split}")
        except DataError as error:
            kind = UNREADABLE if not faults.raws else "split that cannot be used"
            faults.findings.append(_as_finding(kind, str(error), f"{data_yaml}: {split}"))
            return None, faults
    faults.findings += dataset.findings
    return dataset, faults


def _as_finding(problem: str, message: str, source: str) -> Finding:
    """Return an error that nothing can be read after; it begins with its place, if it has one."""
    is_placed = os.path.lexists(split_place(message)["file"])
    where = message if is_placed else f"{source}: {message}"
    return Finding(problem, where, STOPS_TRAINING)


def _counter(progress: Progress, stage: str, total: int) -> Callable[[], None]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(stage, done, total)

    return count
