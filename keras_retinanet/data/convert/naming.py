"""Names in a converted data set: of its images, which must be unique in a folder, and its classes,
which all splits share."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from keras_retinanet.data.dataset import DetectionDataset, Finding
from keras_retinanet.data.formats.records.tfrecord import image_suffix
from keras_retinanet.data.images.address import image_name, is_address, open_image
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES
from keras_retinanet.errors import DataError

# Line breaks and the like: lists of file names have one to a line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SPLIT_NAME = re.compile(r"\w[\w.-]*")
_MAGIC_BYTES = 8


def name_images(paths: Sequence[str], findings: list[Finding], *, by_stem: bool) -> dict[str, str]:
    """Return a file name for each image; names differ in more than case, so that they can be in one
    folder anywhere. Images of the same name get that of their folder in front, or a number behind.

    Args:
        by_stem: names differ without their suffixes.
    """
    paths = list(dict.fromkeys(paths))
    names = {path: _clean_name(path) for path in paths}
    counts = Counter(_key(name, by_stem) for name in names.values())
    shared: dict[str, list[str]] = {}
    for path in paths:
        if counts[_key(names[path], by_stem)] > 1:
            shared.setdefault(_key(names[path], by_stem), []).append(path)
    used = {key for key, count in counts.items() if count == 1}
    for group in shared.values():
        folders = [_folder(path) for path in group]
        root = os.path.commonpath(folders) if len(set(folders)) > 1 else folders[0]
        last: Counter[str] = Counter()
        for path, folder in zip(group, folders, strict=True):
            parts = PurePath(os.path.relpath(folder, root)).parts if folder != root else ()
            stem, suffix = os.path.splitext("__".join((*parts, names[path])))
            stem = _CONTROL.sub("_", stem)
            name = stem + suffix
            while _key(name, by_stem) in used:
                last[stem] += 1
                name = f"{stem}_{last[stem] + 1}{suffix}"
            used.add(_key(name, by_stem))
            if name != names[path]:
                problem = "several images have the same name; this one is renamed"
                findings.append(Finding(problem, f"{path}: {name}", "noted"))
            names[path] = name
    return names


def with_common_classes(
    datasets: Mapping[str, DetectionDataset], findings: list[Finding]
) -> dict[str, DetectionDataset]:
    """Return the splits with the same classes in the same order, and with the same category ids."""
    lists = {(d.class_names, d.category_ids) for d in datasets.values()}
    if len(lists) == 1:
        return dict(datasets)
    ids: dict[str, int] = {}
    agree = True
    for dataset in datasets.values():
        for name, category_id in zip(dataset.class_names, dataset.category_ids, strict=True):
            agree &= ids.setdefault(name, category_id) == category_id
    agree &= len(set(ids.values())) == len(ids)
    names = sorted(ids, key=ids.__getitem__) if agree else list(ids)
    if not agree:
        problem = "category ids differ between the splits; they are numbered anew, from 1 on"
        findings.append(Finding(problem, ", ".join(datasets), "noted"))
    category_ids = tuple(ids[n] for n in names) if agree else tuple(range(1, len(names) + 1))
    return {
        split: replace(dataset.with_classes(names), category_ids=category_ids)
        for split, dataset in datasets.items()
    }


def refuse_bad_split_names(splits: Sequence[str]) -> None:
    """Splits give names to folders and files."""
    for split in splits:
        if not _SPLIT_NAME.fullmatch(split):
            raise DataError(
                f"the split {split!r} cannot name a folder: use letters, digits, '_', '-' and '.'"
            )
    if len({split.casefold() for split in splits}) < len(splits):
        raise DataError(f"the splits {list(splits)} differ in nothing but case")


def _clean_name(path: str) -> str:
    name = _CONTROL.sub("_", image_name(path)).strip()
    if name.startswith("."):  # hidden files are passed over
        name = f"_{name}"
    stem, suffix = os.path.splitext(name)
    if suffix.lower() in IMAGE_SUFFIXES:
        return stem.rstrip() + suffix
    with open_image(path) as file:
        return name + image_suffix(file.read(_MAGIC_BYTES))


def _key(name: str, by_stem: bool) -> str:
    kept = os.path.splitext(name)[0] if by_stem else name
    return unicodedata.normalize("NFC", kept).casefold()


def _folder(path: str) -> str:
    """Return the folder of an image; where it is in a record, that of the file."""
    folder = PurePath(os.path.abspath(path)).parent
    return str(folder.parent if is_address(path) else folder)
