"""From what a command is given to image files that can be read, each with a place of its own."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.images.converted import convert_to_png
from keras_retinanet.data.images.download import download, url_place
from keras_retinanet.data.images.given_images import PASSED_OVER, GivenImages, is_video
from keras_retinanet.data.images.inspection import ImageHeader, inspect_image, inspect_images
from keras_retinanet.errors import DataError
from keras_retinanet.system.buckets.bucket_address import told
from keras_retinanet.system.buckets.incoming import fetched

_DOWNLOADS_AT_ONCE = 8


@dataclass(frozen=True)
class UsableImage:
    """An image of the user's, the file that is read for it, and what is known of that.

    Attributes:
        name: as the user knows it: a path or a URL.
        place: below the folder it was found in, different for each image.
    """

    name: str
    read_from: Path
    header: ImageHeader
    place: Path


@dataclass(frozen=True)
class UsableVideo:
    """A video or a camera; `source` is what is opened for it."""

    name: str
    source: str
    place: Path
    is_live: bool = False


@dataclass
class Usable:
    """What can be looked at; what cannot is among the findings of what was given."""

    images: list[UsableImage] = field(default_factory=list)
    videos: list[UsableVideo] = field(default_factory=list)


def usable_images(given: GivenImages, folder: Path) -> Usable:
    """Return what can be read; what is passed over is added to the findings.

    Args:
        folder: for what is fetched from the web, and what has to be converted to be read.
    """
    files = [_File(told(str(f)), f, f.relative_to(root)) for f, root in given.roots.items()]
    videos = [
        _File(told(str(f)), fetched(f), f.relative_to(root)) for f, root in given.videos.items()
    ]
    for file in _fetched(given, folder):
        (videos if is_video(file.place.name) else files).append(file)
    places = _Places()
    usable = Usable()
    headers = inspect_images([str(file.path) for file in files])
    for file, header in zip(files, headers, strict=True):
        path = file.path
        if header.is_other_kind:
            path = folder / f"{len(usable.images)}.png"
            header = converted_header(file.name, file.path, path, given.findings)
        if header.fault:
            given.findings.append(Finding(header.fault, file.name, "image skipped"))
            continue
        image = UsableImage(file.name, path, header, places.free(file.place))
        usable.images.append(image)
    places = _Places()
    usable.videos += [UsableVideo(f.name, str(f.path), places.free(f.place)) for f in videos]
    for name in given.streams:
        place = places.free(url_place(name) if "://" in name else Path(name.replace(":", "-")))
        usable.videos.append(UsableVideo(name, name, place, is_live=True))
    return usable


def converted_header(name: str, path: Path, target: Path, findings: list[Finding]) -> ImageHeader:
    """Write an image of another kind as a PNG; return that one's header."""
    try:
        num_pictures = convert_to_png(path, target)
    except DataError as error:
        return ImageHeader(fault=str(error))
    if num_pictures > 1:
        text = f"image of {num_pictures} pages or frames"
        findings.append(Finding(text, name, "the first is used"))
    return inspect_image(str(target))


@dataclass(frozen=True)
class _File:
    name: str
    path: Path
    place: Path


class _Places:
    """Paths that are taken; each is given once."""

    def __init__(self) -> None:
        self._taken: set[Path] = set()

    def free(self, wanted: Path) -> Path:
        """Return the path, or that in a folder 2, 3, ... if an image of another folder has it."""
        place, number = wanted, 1
        while place in self._taken:
            number += 1
            place = Path(str(number), wanted)
        self._taken.add(place)
        return place


def _fetched(given: GivenImages, folder: Path) -> Iterator[_File]:
    """Yield what could be had of the web, in order."""
    targets: Sequence[Path] = [
        # The suffix tells a video, and HEIC.
        folder / f"web-{i}{url_place(url).suffix}"
        for i, url in enumerate(given.urls)
    ]

    def fetch(url: str, target: Path) -> str | None:
        try:
            download(url, target)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        faults = list(pool.map(fetch, given.urls, targets))
    for url, target, fault in zip(given.urls, targets, faults, strict=True):
        if fault is None:
            yield _File(url, target, url_place(url))
        else:
            given.findings.append(Finding(fault, url, PASSED_OVER))
