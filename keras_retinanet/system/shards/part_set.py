"""All parts of one piece of work: found, of one kind, and none missing or doubled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from keras_retinanet.errors import DataError
from keras_retinanet.system.shards.part_file import (
    PART,
    SUFFIX,
    UNFINISHED,
    PartHeader,
    different,
    read_header,
    read_part,
)

Result = TypeVar("Result")

_MOST_NAMED = 10


@dataclass(frozen=True)
class PartSet:
    """The parts of one piece of work, all there; `header` is that of one of them."""

    files: list[Path]
    header: PartHeader


def find_parts(paths: Sequence[Path], kind: str) -> PartSet:
    """Return the parts that lie at `paths`: files, or folders of them.

    Raises:
        DataError: one is missing, there twice, unfinished, no part, or of other work.
    """
    files = _files(paths)
    headers = {path: read_header(path) for path in files}
    first = headers[files[0]]
    if first.kind != kind:
        raise DataError(f"{files[0]} is a part of another kind of work ({first.kind}): no {kind}")
    for path, header in headers.items():
        if replace(header, shard=first.shard) != first:
            other = different(replace(header, shard=first.shard), first)
            raise DataError(f"{path} and {files[0]} are of two {kind}s: {other} differs")
    _refuse_incomplete(headers, first.count)
    return PartSet(files, first)


def kind_of_parts(paths: Sequence[Path]) -> str:
    """Return the kind of work that parts are of, told by the first.

    Raises:
        DataError: there is no part, or an unfinished one.
    """
    return read_header(_files(paths)[0]).kind


def rows_of_images(
    parts: PartSet, num_images: int, read: Callable[[dict[str, Any]], Result]
) -> list[Result]:
    """Return what `read` makes of each image's row, in the order of the images.

    Raises:
        DataError: a part is damaged, or an image is missing or there twice.
    """
    found: dict[int, Result] = {}
    for path in parts.files:
        for _, rows in read_part(path):
            for row in rows:
                image = row["image"]
                if image in found:
                    raise DataError(f"{path} holds image {image} again")
                found[image] = read(row)
    if found.keys() != set(range(num_images)):
        raise DataError(f"the parts hold {len(found)} of {num_images} images: make them again")
    return [found[image] for image in range(num_images)]


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    unfinished: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"there is no file or folder {path}")
        files += sorted(path.glob(f"{PART}*{SUFFIX}")) if path.is_dir() else [path]
        unfinished += sorted(path.glob(f"{PART}*{UNFINISHED}")) if path.is_dir() else []
    if unfinished:
        raise DataError(f"{unfinished[0]} is not finished: run its shard again")
    if not files:
        raise DataError(
            f"{paths[0]} holds no parts: evaluate, predict and data check write them with --shard"
        )
    return list(dict.fromkeys(path.resolve() for path in files))


def _refuse_incomplete(headers: dict[Path, PartHeader], count: int) -> None:
    by_shard: dict[int, Path] = {}
    for path, header in headers.items():
        if header.shard in by_shard:
            raise DataError(f"{path} and {by_shard[header.shard]} are the same part")
        by_shard[header.shard] = path
    missing = [shard for shard in range(count) if shard not in by_shard]
    if missing:
        named = ", ".join(f"{shard}/{count}" for shard in missing[:_MOST_NAMED])
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        raise DataError(f"{len(missing)} of {count} parts are missing: {named}{more}")
