"""Reader of Pascal VOC: XML files of annotations, with images beside them or in JPEGImages."""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import stop
from keras_retinanet.data.formats.image_finder import ImageFinder
from keras_retinanet.data.formats.text_lines import read_lines
from keras_retinanet.data.formats.voc_xml import VocFile, VocObject, read_voc_file
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES, walk
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

# Above this share of boxes with fractions, the tool did not count pixels. VOC2012 itself has a few.
_MANY_FRACTIONS = 0.1


def read_voc(
    root: Path,
    image_sets: str | Sequence[str] | None,
    classes: Sequence[str] | None = None,
    *,
    annotations: Path | None = None,
    images: Path | None = None,
    other_annotations: Sequence[Path] = (),
    first_pixel: int | None = None,
) -> RawAnnotations:
    """Read the images of image sets, or all that have an annotation.

    Pixel indices in VOC are 1-based and inclusive; boxes here begin at the left edge of the first
    and end at the right edge of the last pixel. Objects marked difficult are regions to ignore.

    Args:
        image_sets: names of files in ImageSets/Main; None: all files in `annotations`.
        classes: names in the order of the labels; without it, the sorted names that occur in all
            annotations, so that every split has the same.
        annotations: root/Annotations by default.
        images: root/JPEGImages by default.
        other_annotations: the folders of the other splits.
        first_pixel: the index of the leftmost pixel, 1 or 0; by default 1, unless the annotations
            show by indices below 1, or by many fractions, that they begin with 0.

    Raises:
        DataError: a file is missing or malformed (with its line), or a class is not in `classes`.
    """
    folder = annotations or root / "Annotations"
    image_folder = images or root / "JPEGImages"
    found = {top: _read_folder(top) for top in dict.fromkeys([folder, *other_annotations])}
    files = found[folder]
    source = f"{root} {image_sets}" if image_sets else str(folder)
    findings: list[Finding] = []
    if image_sets is None:
        stems = list(files)
        findings += _images_without_a_file(image_folder, found)
    else:
        names = [image_sets] if isinstance(image_sets, str) else image_sets
        stems = _read_image_sets([_set_file(root, name) for name in names], files)
    split = {stem: files.get(stem) or read_voc_file(folder / f"{stem}.xml") for stem in stems}
    everything = [*split.values(), *(file for part in found.values() for file in part.values())]
    if classes is None:
        classes = sorted({name for file in everything for name in file.names})
        suspects = everything  # the classes are told by all files, so that all have to be sound
    else:
        suspects = list(split.values())
    for file in {id(file): file for file in suspects}.values():
        file.stop_at_faults()
    usable = {stem: file for stem, file in split.items() if file.is_readable}
    objects, box_images = _known_objects(list(usable.values()), classes)
    offset = _offset(everything, source, first_pixel, findings)
    finder = ImageFinder(image_folder, *([folder] if image_sets is None else []))
    label_of = {name: label for label, name in enumerate(classes)}
    findings += _told_shapes(objects, source)
    return RawAnnotations(
        source=source,
        image_paths=[_image_path(finder, stem, file.filename) for stem, file in usable.items()],
        image_ids=list(usable),
        declared_sizes=[file.size for file in usable.values()],
        box_images=np.array(box_images, np.int64),
        boxes=_boxes(objects, offset, findings),
        labels=np.array([label_of[o.name] for o in objects], np.int32),
        is_ignored=np.array([o.is_difficult for o in objects], bool),
        areas=np.full(len(objects), np.nan),
        class_names=tuple(classes),
        category_ids=tuple(range(1, len(classes) + 1)),
        describe_box=lambda t: objects[t].where,
        findings=findings,
    )


def _read_folder(folder: Path) -> dict[str, VocFile]:
    """Return what all XML files in a folder and below say, by their paths without suffix."""
    paths = [
        os.path.join(parent, name)
        for parent, names in walk(folder)
        for name in names
        if name.lower().endswith(".xml")
    ]
    states = {path: os.lstat(path) for path in paths}
    paths = [path for path in paths if not stat.S_ISFIFO(states[path].st_mode)]
    stamps = [(states[path].st_mtime_ns, states[path].st_size) for path in paths]
    state = hash((folder, tuple(paths), tuple(stamps)))
    # All splits of a folder ask the same: parsing is most of the time that reading them takes.
    if state not in _folders_read:
        if len(_folders_read) >= _MAX_FOLDERS_KEPT:
            _folders_read.clear()
        start = len(os.path.join(folder, ""))
        _folders_read[state] = {
            path[start : -len(".xml")].replace(os.sep, "/"): read_voc_file(Path(path))
            for path in paths
        }
    return _folders_read[state]


_MAX_FOLDERS_KEPT = 4
_folders_read: dict[int, dict[str, VocFile]] = {}


def _set_file(root: Path, name: str) -> Path:
    main = root / "ImageSets" / "Main" / f"{name}.txt"
    others = (root / "ImageSets" / f"{name}.txt", root / f"{name}.txt")
    return next((path for path in (main, *others) if path.is_file()), main)


def _read_image_sets(paths: Sequence[Path], files: Mapping[str, VocFile]) -> list[str]:
    """Return the names in image sets; of several, those of classes, each image once."""
    by_last_part = {PurePath(stem).name.lower(): stem for stem in files}
    stems: dict[str, None] = {}
    for path in paths:
        try:
            lines = read_lines(path)
        except DataError as error:
            raise DataError(f"cannot read the image set {path}: {error}") from error
        seen: dict[str, int] = {}  # with their lines
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            stem = _stem(line.strip(), files, by_last_part)
            if stem in seen:
                stop(
                    "image listed more than once in an image set",
                    f"{path}:{number}: {stem!r}",
                    f"{path}:{number}: {stem!r} is listed more than once, first on line "
                    f"{seen[stem]}",
                )
            seen.setdefault(stem, number)
        stems.update(dict.fromkeys(seen))
    return list(stems)


def _stem(line: str, files: Mapping[str, VocFile], by_last_part: Mapping[str, str]) -> str:
    """Return the annotation that a line of an image set names.

    The name may be followed by -1, 0 or 1, as in the sets of classes; it may have the suffix of
    the image, and folders before it that are none of the annotations'.
    """
    name, _, flag = line.rpartition(" ")
    # "scan 1" may be a name.
    spellings = [line] + ([name.strip()] if name and flag in ("-1", "0", "1") else [])
    for text in spellings:
        for plain in (text, _without_suffix(text)):
            if plain in files:
                return plain
    for text in spellings:
        last = PurePath(text.replace("\\", "/")).name.lower()
        for plain in (last, _without_suffix(last)):
            if plain in by_last_part:
                return by_last_part[plain]
    return _without_suffix(spellings[-1])


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def _image_path(finder: ImageFinder, stem: str, filename: str | None) -> str:
    """Return the image of an annotation: by its own name, since many tools get <filename> wrong."""
    path = finder.find(stem)
    if os.path.isfile(path) or not (filename and filename.strip()):
        return path if os.path.isfile(path) else f"{path}.jpg"
    return finder.find(filename.strip())


def _images_without_a_file(
    images: Path, found: Mapping[Path, Mapping[str, VocFile]]
) -> list[Finding]:
    """Return the images of a folder that no annotation names, of this split or another."""
    known = {PurePath(stem).name.lower() for files in found.values() for stem in files}
    known |= {
        os.path.splitext(PurePath((file.filename or "").strip()).name)[0].lower()
        for files in found.values()
        for file in files.values()
    }
    try:
        names = sorted(os.listdir(images))
    except OSError:
        return []
    return [
        Finding("image without an XML file", str(images / name), "image skipped")
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES)
        and not name.startswith(".")
        and os.path.splitext(name)[0].lower() not in known
    ]


def _known_objects(
    files: Sequence[VocFile], classes: Sequence[str]
) -> tuple[list[VocObject], list[int]]:
    """Return the objects of known classes, and in which file each is."""
    known = set(classes)
    objects, indices = [], []
    for i, file in enumerate(files):
        for entry in file.objects:
            if entry.name in known:
                objects.append(entry)
                indices.append(i)
                continue
            stop(
                "object of an unknown class",
                f"{entry.where}: {entry.name!r}",
                f"{entry.where} has the unknown class {entry.name!r}; known: {list(classes)}",
            )
    return objects, indices


def _offset(
    files: Sequence[VocFile], source: str, first_pixel: int | None, findings: list[Finding]
) -> int:
    """Return what to take from the first pixel's index; say so if the files show that it is 0."""
    if first_pixel is not None:
        return first_pixel
    boxes = [o for file in files for o in file.objects if not o.is_shape]
    low = next((o for o in boxes if min(o.corners[:2]) < 1), None)
    fractions = [o for o in boxes if any(c % 1 for c in o.corners)]  # NaN and infinity, too
    many = len(fractions) > _MANY_FRACTIONS * len(boxes)
    shown = low or (fractions[0] if many else None)
    if shown is None:
        return 1
    reason = "an index below 1" if low else "fractions"
    findings.append(
        Finding("pixels are counted from 0", f"{shown.where}: {source}: {reason}", "noted")
    )
    return 0


def _told_shapes(objects: Sequence[VocObject], source: str) -> list[Finding]:
    shapes = [o for o in objects if o.is_shape]
    if not shapes:
        return []
    problem = "polygons or rotated boxes: the boxes around them are taken"
    return [Finding(problem, f"{shapes[0].where}: {source}: {len(shapes)} objects", "noted")]


def _boxes(objects: Sequence[VocObject], offset: int, findings: list[Finding]) -> np.ndarray:
    """Return x1, y1, x2, y2 [T, 4], which lie between the pixels."""
    boxes = np.empty((len(objects), 4), np.float64)
    for t, entry in enumerate(objects):
        xmin, ymin, xmax, ymax = entry.corners
        if (xmax < xmin or ymax < ymin) and xmax != xmin and ymax != ymin:
            findings.append(Finding("corners of a box are swapped", entry.where, "box mended"))
            xmin, xmax = sorted((xmin, xmax))
            ymin, ymax = sorted((ymin, ymax))
        first = 0 if entry.is_shape else offset
        # A box from a pixel to itself is a slip of the mouse; as an inclusive range it would have
        # size 1, so its first pixel is left out.
        x1 = xmax if xmax == xmin else xmin - first
        y1 = ymax if ymax == ymin else ymin - first
        boxes[t] = x1, y1, xmax, ymax
    return boxes
