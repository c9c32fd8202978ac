"""The images and videos that a command is given: files, folders, patterns, URLs, cameras, and lists
on standard input."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.download import is_url
from keras_retinanet.data.images.listing import (
    IMAGE_SUFFIXES,
    OTHER_IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    list_files,
)
from keras_retinanet.errors import DataError
from keras_retinanet.system.buckets.bucket_address import told
from keras_retinanet.system.buckets.incoming import staged

SUFFIXES = (*IMAGE_SUFFIXES, *OTHER_IMAGE_SUFFIXES)
PASSED_OVER = "file passed over"
# Stands for a list of files on standard input.
STDIN = "-"
# "camera:0" is the machine's first camera; those of the network have addresses.
CAMERA, STREAM_SCHEMES = "camera:", ("rtsp", "rtmp", "udp", "srt")


@dataclass
class GivenImages:
    """What was given, each once.

    Attributes:
        roots: image files in order, and the folder that each was found in.
        videos: likewise.
        urls: images and videos of the web.
        streams: cameras.
        findings: what was left out.
    """

    roots: dict[Path, Path] = field(default_factory=dict)
    videos: dict[Path, Path] = field(default_factory=dict)
    urls: list[str] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        return list(self.roots)

    def add_file(self, file: Path, root: Path) -> None:
        kind = self.videos if is_video(file.name) else self.roots
        kind.setdefault(file, root)

    def add_name(self, name: str) -> bool:
        """Add what is no file; return whether the name is that of such."""
        known = self.urls if is_url(name) else self.streams if _is_stream(name) else None
        if known is not None and name not in known:
            known.append(name)
        return known is not None

    def add_folder(self, folder: Path) -> None:
        for file in list_files(folder):
            if file.name.lower().endswith((*SUFFIXES, *VIDEO_SUFFIXES)):
                self.add_file(file, folder)
            else:
                self.pass_over(file, "file that is no image by its name")

    def pass_over(self, file: Path, problem: str) -> None:
        self.findings.append(Finding(problem, told(str(file)), PASSED_OVER))


def is_video(name: str) -> bool:
    """Return whether a file is a video by its name."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def given_images(given: Sequence[str | Path], lines: Iterable[str] = ()) -> GivenImages:
    """Return the images and videos of files, folders, patterns such as "photos/**/*.jpg", also in
    buckets, URLs and cameras.

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
                if not images.add_name(line) and not _add(images, staged(line)):
                    images.pass_over(staged(line), "there is no file or folder of this name")
        elif images.add_name(str(name)):
            continue
        elif not _add(images, staged(name)) and not _add_pattern(images, str(staged(name))):
            is_pattern = glob.has_magic(str(name))
            raise DataError(
                f"no file matches {name}" if is_pattern else f"there is no file or folder {name}"
            )
    return images


def _is_stream(name: str) -> bool:
    scheme = name.partition("://")[0].lower()
    return scheme in STREAM_SCHEMES or (
        name.startswith(CAMERA) and name.removeprefix(CAMERA).isdecimal()
    )


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
        if path.name.lower().endswith((*SUFFIXES, *VIDEO_SUFFIXES)):
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
