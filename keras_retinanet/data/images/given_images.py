"""The images that a command is given: files, folders, patterns, and lists on standard input."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.listing import (
    IMAGE_SUFFIXES,
    OTHER_IMAGE_SUFFIXES,
    list_files,
)
from keras_retinanet.errors import DataError

SUFFIXES = (*IMAGE_SUFFIXES, *OTHER_IMAGE_SUFFIXES)
PASSED_OVER = "file passed over"
# Stands for a list of files on standard input.
STDIN = "-"


@dataclass
class GivenImages:
    """Image files in order, each once; the folder that each was found in; and what was left out."""

    roots: dict[Path, Path] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        return list(self.roots)

    def add_file(self, file: Path, root: Path) -> None:
        self.roots.setdefault(file, root)

    def add_folder(self, folder: Path) -> None:
        for file in list_files(folder):
            if file.name.lower().endswith(SUFFIXES):
                self.add_file(file, folder)
            else:
                self.pass_over(file, "file that is no image by its name")

    def pass_over(self, file: Path, problem: str) -> None:
        self.findings.append(Finding(problem, str(file), PASSED_OVER))


def given_images(given: Sequence[str | Path], lines: Iterable[str] = ()) -> GivenImages:
    """Return the images of files, folders and patterns such as "photos/**/*.jpg".

    Args:
        given: STDIN stands for `lines`.
        lines: a file or folder on each. One that is not there is passed over, and named.

    Raises:
        DataError: what is given is not there, or a pattern matches nothing.
    """
    images = GivenImages()
    for name in given:
        if str(name) == STDIN:
            for line in filter(None, (line.strip() for line in lines)):
                if not _add(images, Path(line)):
                    images.pass_over(Path(line), "there is no file or folder of this name")
        elif not _add(images, Path(name)) and not _add_pattern(images, str(name)):
            is_pattern = glob.has_magic(str(name))
            raise DataError(
                f"no file matches {name}" if is_pattern else f"there is no file or folder {name}"
            )
    return images


def _add(images: GivenImages, path: Path) -> bool:
    if path.is_dir():
        images.add_folder(path)
    elif path.exists():
        images.add_file(path, path.parent)
    else:
        return False
    return True


def _add_pattern(images: GivenImages, pattern: str) -> bool:
    found = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []
    top = _folder_before_magic(pattern)
    for path in map(Path, found):
        if not path.is_file():
            continue
        if path.name.lower().endswith(SUFFIXES):
            images.add_file(path, top)
        else:
            images.pass_over(path, "file that is no image by its name")
    return bool(found)


def _folder_before_magic(pattern: str) -> Path:
    """Return the folder of a pattern whose name is plain: "photos" of "photos/**/*.jpg"."""
    plain: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        plain.append(part)
    return Path(*plain)
