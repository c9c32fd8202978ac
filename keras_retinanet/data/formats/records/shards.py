"""TFRecord files: the shards of a split, their records (with places), and the records' features."""

import contextlib
import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_retinanet.data.faults import stop
from keras_retinanet.errors import DataError
from keras_retinanet.system.buckets.incoming import fetched

Result = TypeVar("Result")

SUFFIXES = (".tfrecord", ".tfrecords", ".record")
# train-00000-of-00032.tfrecord and train.tfrecord-00000-of-00032
_SHARD = re.compile(
    r"(?P<prefix>.+?)(\.(tfrecords?|record))?-(?P<index>\d{5,})-of-(?P<count>\d{5,})"
    r"(\.(tfrecords?|record))?"
)
_BUFFER_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
# Of a record: its length (8 bytes) and that one's checksum (4) before, its checksum (4) behind.
_HEADER_BYTES, _FOOTER_BYTES = 12, 4


def find_shards(place: Path) -> list[Path]:
    """Return the files that `place` stands for: a file, a pattern with *, or what the names of a
    set of shards begin with (data/train).

    Raises:
        DataError: there is none, or a shard of a set is missing.
    """
    if os.path.isfile(place):
        return [place]
    if any(char in place.name for char in "*?["):
        files = [p for p in _files(place.parent) if fnmatch.fnmatch(p.name, place.name)]
    else:
        files = [Path(f"{place}{s}") for s in SUFFIXES if os.path.isfile(f"{place}{s}")][:1]
        files = files or [p for p in _files(place.parent) if _prefix(p) == place.name]
    if not files:
        raise DataError(
            f"there are no TFRecord files {place}, {place}.tfrecord, "
            f"{place}-00000-of-0000N.tfrecord or {place}.tfrecord-00000-of-0000N"
        )
    _refuse_missing_shards(files)
    return files


def iterate_records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (offset of the record's data in the file, data) of a TFRecord file; checksums are
    verified.

    Raises:
        DataError: the file cannot be read, is compressed, or is damaged (with the record's number,
            from 0 on).
    """
    path = fetched(path)
    try:
        with open(path, "rb") as file:
            if file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC:
                raise DataError(
                    f"{path} is compressed; images are read in place: write it without compression"
                )
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    offset, number = 0, 0
    records = iter(
        tf.data.TFRecordDataset(os.fspath(path), buffer_size=_BUFFER_BYTES).as_numpy_iterator()
    )
    while True:
        try:
            record = next(records)
        except StopIteration:
            break
        except tf.errors.OpError as error:
            raise DataError(
                f"{path}: record {number} is damaged or cut off (of {_size(path)} bytes, "
                f"{offset} can be read): get the file anew"
            ) from error
        yield offset + _HEADER_BYTES, record
        offset += _HEADER_BYTES + len(record) + _FOOTER_BYTES
        number += 1


class Features:
    """The features of a tf.train.Example, by key; a key that is missing has no values.

    Raises:
        DataError: the bytes are no Example, or values are of another type than asked for.
    """

    def __init__(self, data: bytes, where: str) -> None:
        try:
            self.feature = dict(tf.train.Example.FromString(data).features.feature)
        except DecodeError as error:
            raise DataError(f"{where} is not a tf.train.Example: {error}") from error
        self.where = where

    def bytes(self, key: str) -> list[bytes]:
        return list(self._values(key, ("bytes_list",)))

    def integers(self, key: str) -> list[int]:
        return list(self._values(key, ("int64_list",)))

    def numbers(self, key: str) -> np.ndarray:
        return np.array(self._values(key, ("float_list", "int64_list")), np.float64)

    def _values(self, key: str, kinds: tuple[str, ...]) -> Sequence[Any]:
        feature = self.feature.get(key)
        kind = feature.WhichOneof("kind") if feature is not None else None
        if kind is None:
            return ()
        values = getattr(feature, kind).value  # a oneof: the field is named by its kind
        if kind not in kinds and len(values):
            raise DataError(f"{self.where}: {key} is a {kind}, not a {' or '.join(kinds)}")
        return values


def parsed_or_not(parse: Callable[..., Result], *arguments: Any) -> Result | DataError:
    """Return `parse(*arguments)`, or what is wrong: a thread cannot tell whether faults are
    collected."""
    try:
        return parse(*arguments)
    except DataError as error:
        return error


def without_faults(found: Iterable[Result | DataError]) -> list[Result]:
    """Return what could be parsed; stop at each of the others."""
    good: list[Result] = []
    for one in found:
        if isinstance(one, DataError):
            stop("record that cannot be used", str(one), str(one))
        else:
            good.append(one)
    return good


def for_each_shard(shards: list[Path], parse: Callable[[Path], Result]) -> list[Result]:
    """Return `parse(shard)` of all, several at a time."""
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        return list(pool.map(parse, shards))
    finally:
        pool.shutdown(cancel_futures=True)


def _files(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError, ValueError):
        return sorted(path for path in folder.iterdir() if path.is_file())
    return []


def _prefix(path: Path) -> str | None:
    match = _SHARD.fullmatch(path.name)
    return match["prefix"] if match else None


def _refuse_missing_shards(files: list[Path]) -> None:
    sets: dict[tuple[Path, str], dict[int, set[int]]] = {}
    for path in files:
        if match := _SHARD.fullmatch(path.name):
            counts = sets.setdefault((path.parent, match["prefix"]), {})
            counts.setdefault(int(match["count"]), set()).add(int(match["index"]))
    for (folder, prefix), counts in sets.items():
        if len(counts) > 1:
            raise DataError(
                f"{folder / prefix}: there are shards of {len(counts)} sets (of "
                f"{', '.join(map(str, sorted(counts)))}): name the one, as in {prefix}-*-of-00032*"
            )
        ((count, found),) = counts.items()
        missing = [i for i in range(min(count, 100_000)) if i not in found]
        if missing:
            shown = ", ".join(f"{i:05d}" for i in missing[:5]) + (" ..." if missing[5:] else "")
            raise DataError(
                f"{folder / prefix}: {len(missing)} of {count} shards are missing: {shown}"
            )


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
