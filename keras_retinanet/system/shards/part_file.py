"""The file that one process of many writes: a line that says what it is a part of, and a line for
each batch of its work.

While it grows it has another name, so that a part is there whole or not at all; what a killed
process leaves is gone on with.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from keras_retinanet.errors import DataError
from keras_retinanet.system.atomic_files import sync_to_disk
from keras_retinanet.system.locks import file_lock

# What names of parts begin and end with.
PART, SUFFIX, UNFINISHED = "part-", ".jsonl", ".jsonl.unfinished"
_FORMAT = 2


@dataclass(frozen=True)
class PartHeader:
    """What a part belongs to; all parts of one piece of work differ in `shard` alone.

    Attributes:
        kind: of the work: "evaluation", "prediction", "conversion" or "check".
        shard, count: the part's number from 0 on, and how many there are.
        work: what makes it this work and no other, as JSON has it: what changes with the model and
            with the data, and all options on which the result depends.
    """

    kind: str
    shard: int
    count: int
    work: dict[str, Any]
    format: int = _FORMAT


def part_path(folder: Path, shard: int, count: int) -> Path:
    return folder / f"{PART}{shard:0{len(str(count - 1))}d}-of-{count}{SUFFIX}"


class PartWriter:
    """Adds batches to an unfinished part. `done` are those that it held already."""

    def __init__(self, path: Path, done: set[int]) -> None:
        self.done = done
        self._path = path

    def add(self, batch: int, rows: list[dict[str, Any]]) -> None:
        """Write what came of a batch."""
        with open(_unfinished(self._path), "a", encoding="utf-8") as file:
            file.write(json.dumps({"batch": batch, "rows": rows}) + "\n")
        self.done.add(batch)

    def read(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yield what has been written so far, as `read_part` does."""
        yield from read_part(_unfinished(self._path))

    def finish(self) -> None:
        """Give the part its final name."""
        sync_to_disk(_unfinished(self._path))
        os.replace(_unfinished(self._path), self._path)


@contextmanager
def open_part(path: Path, header: PartHeader) -> Iterator[PartWriter | None]:
    """Yield a writer for what an unfinished part lacks; None if the part is finished.

    Raises:
        DataError: a part of other work is there, another process is writing it, or it
            cannot be written.
    """
    with ExitStack() as stack:
        try:
            writer = _writer(path, header, stack)
        except BlockingIOError as error:
            raise DataError(f"{path} is being written by another process") from error
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from error
        yield writer


def _writer(path: Path, header: PartHeader, stack: ExitStack) -> PartWriter | None:
    unfinished = _unfinished(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stack.enter_context(file_lock(unfinished, wait=False))
    if path.is_file():  # asked under the lock: another process may have finished it just now
        try:
            _refuse_other(read_header(path), header, path)
        finally:
            unfinished.unlink()  # the lock alone: to `merge` the part would seem to be unfinished
        return None
    done = _done(unfinished, header)
    if not unfinished.stat().st_size:
        unfinished.write_text(json.dumps(asdict(header)) + "\n", encoding="utf-8")
    return PartWriter(path, done)


def read_header(path: Path) -> PartHeader:
    """Return what a part is of.

    Raises:
        DataError: it cannot be read, or is no part.
    """
    with _opened(path) as file:
        return _header(file.readline(), path)


def read_part(path: Path) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield the number of each batch, and what came of it.

    Raises:
        DataError: the part is damaged.
    """
    with _opened(path) as file:
        _header(file.readline(), path)
        for number, line in enumerate(file, start=2):
            try:
                content = json.loads(line)
                yield content["batch"], content["rows"]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}:{number} is damaged: make this part again") from error


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(SUFFIX) + UNFINISHED)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with open(path, encoding="utf-8") as file:
            yield file
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DataError(f"cannot read {path}: {reason}") from error


def _header(line: str, path: Path) -> PartHeader:
    try:
        values = json.loads(line)
        found = values["format"]
        header = PartHeader(**values) if found == _FORMAT else None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no part that a command with --shard wrote") from error
    if header is None:
        raise DataError(f"{path} has format {found}; this version reads {_FORMAT}")
    return header


def _refuse_other(found: PartHeader, wanted: PartHeader, path: Path) -> None:
    if found != wanted:
        other = different(found, wanted)
        raise DataError(
            f"{path} is a part of another {found.kind} ({other} differs): name another folder, or "
            "remove it"
        )


def different(header: PartHeader, other: PartHeader) -> str:
    """Return the names of what differs, in words for people."""
    one, two = ({**asdict(each), **each.work, "work": None} for each in (header, other))
    names = {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)}
    # Of two kinds of work, all else differs, too.
    return "kind" if "kind" in names else ", ".join(sorted(n.replace("_", " ") for n in names))


def _done(unfinished: Path, header: PartHeader) -> set[int]:
    """Return the batches in an unfinished part; a line that was cut short is cut off."""
    content = unfinished.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(unfinished, len(whole))
    if not whole:
        return set()
    _refuse_other(read_header(unfinished), header, unfinished)
    return {batch for batch, _ in read_part(unfinished)}
