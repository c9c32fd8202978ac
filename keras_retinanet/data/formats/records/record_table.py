"""The records of TFRecord files as flat arrays, which take half the memory of objects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_retinanet.errors import DataError

# Label and text of an object's class, each None where the record does not have it.
ClassPair = tuple[int | None, str | None]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Record:
    """An image, and its n objects."""

    number: int  # in its file
    path: str
    source_id: str
    filename: str
    size: Size | None
    boxes: np.ndarray  # [n, 4] xyxy, shares of the image
    classes: Sequence[ClassPair]  # n
    areas: np.ndarray  # [n]
    is_ignored: np.ndarray  # [n]


class RecordPlaces:
    """Where records and their objects are written.

    Args:
        numbers: of each file, the numbers of its records.
        counts: [N], the records' objects.
    """

    def __init__(
        self, files: Sequence[Path], numbers: Sequence[np.ndarray], counts: np.ndarray
    ) -> None:
        self._files = files
        self._numbers = np.concatenate([np.zeros(0, np.int32), *numbers])
        self._file_starts = np.cumsum([0, *map(len, numbers)])
        self._row_starts = np.concatenate([[0], np.cumsum(counts)])

    def of_object(self, row: int) -> str:
        record = int(np.searchsorted(self._row_starts, row, side="right")) - 1
        return f"{self.of_record(record)}, object {row - int(self._row_starts[record])}"

    def of_record(self, record: int) -> str:
        file = int(np.searchsorted(self._file_starts, record, side="right")) - 1
        return record_place(self._files[file], int(self._numbers[record]))


class RecordTable:
    """The records of a file, or of several that follow each other.

    Attributes:
        paths, source_ids, filenames, sizes: N each.
        classes: the pairs that occur, in the order of their first objects.
        codes: [T] int32, the class of each object.
        box_images: [T] int32, the record of each object; in order.
        boxes, areas, is_ignored: [T, 4], [T] and [T].
        places: where all that is written.
        faults: why others cannot be used.
    """

    def __init__(self, files: Sequence[Path], tables: Sequence["_FileTable"]) -> None:
        counts = np.concatenate([np.zeros(0, np.int32), *(t.counts for t in tables)])
        self.places = RecordPlaces(files, [t.numbers for t in tables], counts)
        self.paths = [path for t in tables for path in t.paths]
        self.source_ids = [name for t in tables for name in t.source_ids]
        self.filenames = [name for t in tables for name in t.filenames]
        self.sizes = _one_object_each(size for t in tables for size in t.sizes)
        self.box_images = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self.boxes = np.concatenate([np.zeros((0, 4), np.float32), *(t.boxes for t in tables)])
        self.areas = np.concatenate([np.zeros(0, np.float32), *(t.areas for t in tables)])
        self.is_ignored = np.concatenate([np.zeros(0, bool), *(t.is_ignored for t in tables)])
        self.faults: list[DataError] = [fault for t in tables for fault in t.faults]
        code_of: dict[ClassPair, int] = {}
        codes = [np.zeros(0, np.int32)]
        for t in tables:
            own = [code_of.setdefault(pair, len(code_of)) for pair in t.classes]
            codes.append(np.array([*own, 0], np.int32)[t.codes])
        self.codes = np.concatenate(codes)
        self.classes = list(code_of)


class _FileTable:
    """The records of one file; see `RecordTable`."""

    def __init__(self, found: Sequence[Record | DataError]) -> None:
        self.faults = [one for one in found if isinstance(one, DataError)]
        records = [one for one in found if isinstance(one, Record)]
        self.numbers = np.array([r.number for r in records], np.int32)
        self.counts = np.array([len(r.boxes) for r in records], np.int32)
        self.paths = [r.path for r in records]
        self.source_ids = [r.source_id for r in records]
        self.filenames = [r.filename for r in records]
        self.sizes = [r.size for r in records]
        code_of: dict[ClassPair, int] = {}
        codes = [code_of.setdefault(pair, len(code_of)) for r in records for pair in r.classes]
        self.codes, self.classes = np.array(codes, np.int32), list(code_of)
        self.boxes = _narrow(np.concatenate([np.zeros((0, 4)), *(r.boxes for r in records)]))
        self.areas = _narrow(np.concatenate([np.zeros(0), *(r.areas for r in records)]))
        self.is_ignored = np.concatenate([np.zeros(0, bool), *(r.is_ignored for r in records)])


def tabulated(found: Sequence[Record | DataError]) -> _FileTable:
    """Return the records of a file as arrays."""
    return _FileTable(found)


def record_place(file: Path, number: int) -> str:
    return f"{file}: record {number}"


def _narrow(values: np.ndarray) -> np.ndarray:
    """Return numbers as float32 where that holds them, which is as records have them."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values, equal_nan=True) else values


def _one_object_each(sizes: Iterator[Size | None]) -> list[Size | None]:
    """Return sizes, equal ones as one object."""
    known: dict[Size | None, Size | None] = {}
    return [known.setdefault(size, size) for size in sizes]
