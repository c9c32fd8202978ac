"""Which files of a folder are images, and the one walk through folders."""

import os
from collections.abc import Iterator
from pathlib import Path

from keras_retinanet.errors import DataError

# What TensorFlow decodes, and training, evaluation, prediction and serving read.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".jxl")
# What Pillow may decode besides: prediction reads it, everything else says how to convert it.
OTHER_IMAGE_SUFFIXES = (".tif", ".tiff", ".avif", ".heic", ".heif")
# What predict reads frame by frame.
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv",
    ".flv", ".3gp", ".ogv",
)  # fmt: skip
# All that labelling tools take for images: a file that is not read is named, not passed over.
ANY_IMAGE_SUFFIXES = (*IMAGE_SUFFIXES, *OTHER_IMAGE_SUFFIXES, ".mpo", ".dng", ".pfm")


def list_images(path: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the image files of a folder and its subfolders in order, or the one file itself.

    Hidden files and folders, such as .ipynb_checkpoints, are left out.
    """
    return [path] if path.is_file() else list_files(path, suffixes)


def list_files(folder: Path, suffixes: tuple[str, ...] = ("",)) -> list[Path]:
    """Return the files of a folder and its subfolders in order, hidden ones left out.

    Args:
        suffixes: in lower case; a file's own may be in any.
    """
    return sorted(
        path
        for parent, names in walk(folder)
        for name in names
        if name.lower().endswith(suffixes) and (path := Path(parent, name)).is_file()
    )


def walk(
    folder: str | Path, *, max_depth: int | None = None, skip_unreadable: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder from `folder` down, with the names of its files in order.

    Hidden files and folders are left out. Links to folders are followed, into each folder once.

    Args:
        max_depth: of subfolders; None: all.
        skip_unreadable: pass over folders that cannot be read.

    Raises:
        DataError: `folder` is the root of the file system, or a folder cannot be read.
    """
    if os.path.dirname(top := os.path.abspath(folder)) == top:
        raise DataError(f"{folder} is the root of the file system: name the folder that is meant")
    onerror = None if skip_unreadable else _stop_at_unreadable
    seen: set[tuple[int, int]] = set()
    start = os.path.join(folder, "")
    for parent, below, names in os.walk(folder, followlinks=True, onerror=onerror):
        state = os.stat(parent)
        if (state.st_dev, state.st_ino) in seen:
            below.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        depth = len(Path(parent[len(start) :]).parts)
        is_deepest = max_depth is not None and depth >= max_depth
        below[:] = [] if is_deepest else sorted(sub for sub in below if not sub.startswith("."))
        yield parent, sorted(name for name in names if not name.startswith("."))


def _stop_at_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise DataError(f"cannot read the folder {error.filename}: {error.strerror}") from error
