"""Which folder the images of an annotation file lie in: told by some of the names in the file."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from keras_retinanet.data.images.listing import IMAGE_SUFFIXES, walk
from keras_retinanet.data.layouts.places import first_folder, told_split

# Of an annotation file, this much of its beginning and its end is looked at.
HEAD_BYTES = 2**18
_NAMES = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\\n]|\\.)*")')
_MAX_NAMES = 5
# Folders that hold annotations and not images; what they belong to is the folder around them.
_ANNOTATION_FOLDERS = ("annotations", "annotation", "labels", "label", "ann", "csv", "json")


def ends_of(path: Path) -> bytes:
    """Return the beginning and the end of a file; nothing of one that cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(len(head), size - HEAD_BYTES))
            return head + file.read()
    except OSError:
        return b""


def names_in_json(content: bytes) -> list[str]:
    """Return some of the names of images in a part of a COCO file."""
    names: list[str] = []
    for match in _NAMES.finditer(content):
        try:
            names.append(json.loads(match[1]))
        except ValueError:
            continue
        if len(names) == _MAX_NAMES:
            break
    return names


def image_folder(path: Path, names: Sequence[str], *, words: Sequence[str] = ()) -> Path | None:
    """Return the folder that the names in an annotation file are likely to be relative to.

    That is the one around the file where most of the names are files; by their last parts, if none
    is one as it is. Without names, it is the first that the file's own name tells.

    Args:
        words: names that the folder may have, the likeliest first, such as "train2017".
    """
    candidates = _candidates(path, words)
    for shorten in (_as_it_is, _last_part):
        counts = [sum(_is_file(folder / shorten(n)) for n in names) for folder in candidates]
        if any(counts):
            return candidates[counts.index(max(counts))]
    # By the last part, somewhere below: ImageFinder tells where.
    wanted = {_last_part(name).lower() for name in names}
    for folder in candidates:
        if folder.name.lower() in ("images", "data") and _holds_below(folder, wanted):
            return folder
    return None


def named_folder(base: Path, words: Sequence[str], *, with_images: bool = False) -> str | None:
    """Return the folder of images that a word names, relative to `base`, or the one for all."""
    named = [f for word in words for f in (word, f"images/{word}")]
    return first_folder(base, *named, "images", with_images=with_images)


def base_of(path: Path) -> Path:
    """Return the folder of the data set that an annotation file belongs to."""
    folder = path.parent
    if folder.name.lower() in _ANNOTATION_FOLDERS:
        return folder.parent
    above = folder.parent
    if told_split(folder.name) and above.name.lower() in _ANNOTATION_FOLDERS:
        return above.parent
    return folder


def _candidates(path: Path, words: Sequence[str]) -> list[Path]:
    """Return the folders to look into, the likeliest first."""
    base = base_of(path)
    tops = list(dict.fromkeys([path.parent, base]))
    if path.parent.name.lower() == "data":  # of annotations, or of images
        tops.append(path.parent.parent)
    lowered = [word.lower() for word in words]
    splits = {told_split(word) for word in words}
    named: list[Path] = []
    others: list[Path] = []
    for top in tops:
        for folder in _folders(top, 2):
            is_named = folder.name.lower() in lowered
            tells = told_split(folder.name)
            if is_named or (tells is not None and tells in splits):
                named.insert(0, folder) if is_named else named.append(folder)
            elif tells is None and (
                folder.parent == top or told_split(folder.parent.name) in (None, *splits)
            ):
                others.append(folder)
    return list(dict.fromkeys([*named, *others, *tops]))


def _folders(top: Path, depth: int) -> list[Path]:
    """Return the folders below one, in order, hidden ones left out."""
    try:
        with os.scandir(top) as entries:
            subs = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError:
        return []
    folders = [top / sub for sub in subs]
    if depth > 1:
        folders += [inner for folder in folders for inner in _folders(folder, depth - 1)]
    return folders


def _holds_below(folder: Path, names: set[str]) -> bool:
    for _, files in walk(folder, skip_unreadable=True):
        if any(f.lower() in names or os.path.splitext(f)[0].lower() in names for f in files):
            return True
    return False


def _is_file(path: Path) -> bool:
    try:
        if path.is_file():
            return True
        is_bare = path.suffix.lower() not in IMAGE_SUFFIXES
        return is_bare and any(Path(f"{path}{s}").is_file() for s in IMAGE_SUFFIXES)
    except (OSError, ValueError):
        return False


def _as_it_is(name: str) -> str:
    return name.replace("\\", "/").lstrip("/")


def _last_part(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2]
