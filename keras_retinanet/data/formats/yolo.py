"""Reader of YOLO data sets: a data.yaml as Ultralytics has it, and a label file for each image."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.image_finder import ImageFinder
from keras_retinanet.data.formats.text_lines import read_lines
from keras_retinanet.data.formats.yolo_files.yolo_labels import (
    LABEL_SUFFIX,
    LabelFinder,
    Row,
    read_rows,
)
from keras_retinanet.data.formats.yolo_files.yolo_yaml import (
    Part,
    YoloYaml,
    class_names,
    keypoint_values,
    roots,
    split_parts,
)
from keras_retinanet.data.images.listing import ANY_IMAGE_SUFFIXES, list_files
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

# Annotation tools leave these beside the labels.
_NOT_LABELS = ("classes.txt", "notes.txt")
# Above this share of images without a label file, labels have probably been lost.
_MANY_WITHOUT_FILE = 0.2


@dataclass
class _Labelled:
    """Images in order, their label files, and the objects in these.

    Attributes:
        files: the label file of each image; None: it has none.
        rows: the objects; `row_images` says in which image each is.
        tried: where the label file of the first image was looked for.
    """

    images: list[Path] = field(default_factory=list)
    files: list[Path | None] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    row_images: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    tried: str = ""

    def where(self, t: int) -> str:
        return f"{self.files[self.row_images[t]]}:{self.rows[t].number}"


def read_yolo(yaml: YoloYaml, split: str) -> RawAnnotations:
    """Read a split, `split` being its key in the YAML.

    The labels of `images/a.jpg` are in `labels/a.txt`; `LabelFinder` says where else. An image
    without a label file has no objects, but some images must have one. A row with a polygon or a
    rotated box counts as the box around it.

    Raises:
        DataError: a file is missing or malformed (with its line), a class has no name, or no image
            has a label file.
    """
    source = f"{yaml.path} {split}"
    names = class_names(yaml)
    num_values = keypoint_values(yaml)
    found = _Labelled()
    bases = _bases(yaml)
    for part in split_parts(yaml, split):
        _read_part(part, bases, found, f"{yaml.path}: {split}")
    if found.images and not any(found.files):
        _stop_without_labels(found, f"{yaml.path}: {split}")
    label_of = {class_id: label for label, class_id in enumerate(names)}
    for i, file in enumerate(found.files):
        for row in read_rows(file, num_values) if file is not None else ():
            if row.class_id in label_of:
                found.rows.append(row)
                found.row_images.append(i)
            else:
                _stop_at_class(row, f"{file}:{row.number}", names, yaml.path)
    _tell_apart_images_without_objects(found, source)
    _tell_shapes(found, source, yaml.path)
    return RawAnnotations(
        source=source,
        image_paths=[str(path) for path in found.images],
        image_ids=_image_ids(found.images),
        declared_sizes=[None] * len(found.images),
        box_images=np.array(found.row_images, np.int64),
        boxes=np.array([row.box for row in found.rows], np.float64).reshape(-1, 4),
        labels=np.array([label_of[row.class_id] for row in found.rows], np.int32),
        is_ignored=np.zeros(len(found.rows), bool),
        areas=np.full(len(found.rows), np.nan),
        class_names=tuple(names.values()),
        category_ids=tuple(names),
        describe_box=found.where,
        findings=found.findings,
        boxes_normalized=True,
    )


def _bases(yaml: YoloYaml) -> list[Path]:
    """Return the folders of the data set, as they may begin the paths of images."""
    tops = roots(yaml)
    plain = [Path(os.path.normpath(top)) for top in tops]
    return list(dict.fromkeys([*tops, *plain, *(path.absolute() for path in plain)]))


def _read_part(part: Part, bases: list[Path], found: _Labelled, where: str) -> None:
    """Add the images of a folder or list, and their label files."""
    if part.moved_from is not None:
        text = f"{where}: {part.moved_from} is not there: {part.place} is read"
        found.findings.append(Finding("path of another place", text, "noted"))
    is_folder = os.path.isdir(part.place)
    try:
        images = (
            list_files(part.place, ANY_IMAGE_SUFFIXES)
            if is_folder
            else _listed_images(part.place, bases)
        )
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    if not images:
        stop("split without images", f"{part.place}", f"{where}: {part.place} holds no image")
    given = (part.place if is_folder else bases[-1], part.labels) if part.labels else None
    finder = LabelFinder(bases, given)
    seen = set(found.images)
    used = set()
    for image in images:
        if image in seen:
            text = f"{where} lists {image} more than once"
            stop("image listed more than once", text, text)
            continue
        seen.add(image)
        label = finder.find(image)
        used.add(label)
        found.images.append(image)
        found.files.append(label)
    # Elsewhere, the files may be those of other splits.
    if is_folder:
        _report_lonely_labels(part.place, finder, used, found.findings)
    found.tried = found.tried or (finder.tried(images[0]) if images else "")


def _listed_images(path: Path, bases: list[Path]) -> list[Path]:
    """Return the images that a .txt file lists, relative to it or to the data set."""
    lines = [line.strip().strip("'\"") for line in read_lines(path)]
    finder = ImageFinder(path.parent, *bases)
    # "..", so that the folder of the labels is found by name.
    return [Path(os.path.normpath(finder.find(line))) for line in lines if line]


def _report_lonely_labels(
    folder: Path, finder: LabelFinder, used: set[Path | None], findings: list[Finding]
) -> None:
    """Note label files that have no image, in the folder of labels that belongs to `folder`."""
    labels = finder.folders(folder)[0]
    if labels == folder or not os.path.isdir(labels):
        return
    for file in list_files(labels, (LABEL_SUFFIX,)):
        if file not in used and file.name not in _NOT_LABELS:
            findings.append(Finding("label file without an image", str(file), "noted"))


def _stop_without_labels(found: _Labelled, where: str) -> None:
    text = (
        f"{where}: none of {len(found.images)} images has a label file: for {found.images[0]}, "
        f"looked for {found.tried}: name the folder, as in "
        "{images: images/train, annotations: labels/train}, or give images without objects an "
        "empty label file each"
    )
    stop("split without label files", text, text)


def _stop_at_class(row: Row, where: str, names: dict[int, str], named_in: Path) -> None:
    shown = [f"{i}: {name}" for i, name in list(names.items())[:20]]
    text = ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
    if row.class_id == 0 and min(names) == 1:
        text += ": do their numbers begin with 0 in the label files?"
    stop(
        "class without a name",
        f"{where}: class {row.class_id}",
        f"{where}: the class {row.class_id} has no name in {named_in}, whose classes are {text}",
    )


def _tell_apart_images_without_objects(found: _Labelled, source: str) -> None:
    """Say how many images have no label file, and how many an empty one."""
    missing = [image for image, file in zip(found.images, found.files, strict=True) if not file]
    if not missing or len(missing) == len(found.images):
        return
    with_objects = set(found.row_images)
    num_empty = sum(
        file is not None and i not in with_objects for i, file in enumerate(found.files)
    )
    where = (
        f"{source}: {len(missing)} of {len(found.images)} have none (first: {missing[0]}), "
        f"{num_empty} have one without objects"
    )
    if len(missing) > _MANY_WITHOUT_FILE * len(found.images):
        problem = "many images without a label file: are labels missing?"
        found.findings.append(Finding(problem, where, "taken as background"))
    else:
        problem = "images without a label file, which count as background"
        found.findings.append(Finding(problem, where, "noted"))


def _tell_shapes(found: _Labelled, source: str, yaml_path: Path) -> None:
    """Say how many rows are polygons; stop if all of them may be poses."""
    shapes = [t for t, row in enumerate(found.rows) if row.is_shape]
    if not shapes:
        return
    first = found.where(shapes[0])
    if all(found.rows[t].may_be_pose for t in shapes):
        text = (
            f"{first}: {len(shapes)} rows may be poses, with visibilities of keypoints: if they "
            f"are, write kpt_shape: [number of keypoints, 3] in {yaml_path}"
        )
        stop("rows that may be poses", text, text)
    where = f"{source}: {len(shapes)} rows, first {first}"
    problem = "polygons or rotated boxes: the boxes around them are taken"
    found.findings.append(Finding(problem, where, "noted"))


def _image_ids(paths: list[Path]) -> list[str]:
    """Return the names without suffix, or where two are the same, the whole paths."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [path.as_posix() for path in paths]
