"""Reader of torch's files (.pth, .pt): the archive of today, and the pickles of before 1.6."""

import io
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.files.safe_pickle import STORAGE_TYPES, Storage, load, plain

ZIP_MAGIC = b"PK\x03\x04"
# What an old file begins with: this number, pickled.
_OLD_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_OLD_PROTOCOL = 1001
_MAX_PICKLE_BYTES = 64 * 2**20
_MAX_ENTRIES = 100_000


def read_torch_archive(path: Path) -> Any:
    """Return what an archive holds, with arrays in place of tensors.

    Raises:
        WeightsError: it is damaged, no file of weights, or larger inside than outside.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path)
    except (zipfile.BadZipFile, OSError, KeyError, NotImplementedError, EOFError) as error:
        raise WeightsError(f"{path} is damaged: {str(error)[:200]}") from error


def _read_archive(archive: zipfile.ZipFile, path: Path) -> Any:
    entries = archive.infolist()
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError(f"{path} is an archive, but holds no weights of torch (no data.pkl)")
    # torch packs nothing: a packed entry may be as large as one likes.
    total = sum(entry.file_size for entry in entries)
    if (
        len(entries) > _MAX_ENTRIES
        or total > path.stat().st_size
        or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    ):
        raise WeightsError(f"{path}: its parts are packed or overlap, which torch does not write")
    if pickles[0].file_size > _MAX_PICKLE_BYTES:
        raise WeightsError(f"{path}: a list of names of {pickles[0].file_size} bytes")
    top = pickles[0].filename.removesuffix("data.pkl")
    storages: dict[str, Storage] = {}

    def storage_of(pid: tuple) -> Storage:
        kind, key, count = pid[1].name, str(pid[2]), pid[4]
        if key not in storages:
            content = archive.read(f"{top}data/{key}")
            values = np.frombuffer(content, STORAGE_TYPES[kind])
            if len(values) != count:
                raise WeightsError(f"the storage {key!r} has {len(values)} numbers, not {count}")
            storages[key] = Storage(kind, len(values), values)
        return storages[key]

    return plain(load(io.BytesIO(archive.read(pickles[0])), storage_of=storage_of))


def is_old_torch(head: bytes) -> bool:
    """Return whether a file begins as torch's did before 1.6."""
    try:
        return load(io.BytesIO(head)) == _OLD_MAGIC_NUMBER
    except WeightsError:
        return False


def read_old_torch(file: BinaryIO) -> Any:
    """Return what an old file holds, with arrays in place of tensors.

    Raises:
        WeightsError: it is damaged, or no file of weights.
    """
    storages: dict[str, Storage] = {}

    def storage_of(pid: tuple) -> Storage:
        kind, key, count = pid[1].name, str(pid[2]), pid[4]
        if len(pid) > 5 and pid[5] is not None:
            raise WeightsError(
                "views of storages are not read: save the weights with a newer torch"
            )
        return storages.setdefault(key, Storage(kind, count))

    if load(file) != _OLD_MAGIC_NUMBER or load(file) != _OLD_PROTOCOL:
        raise WeightsError("not a file of torch")
    system = load(file)
    if not isinstance(system, dict) or not system.get("little_endian", True):
        raise WeightsError("numbers with the highest byte first")
    content, keys = load(file, storage_of=storage_of), load(file)
    if not isinstance(keys, list):
        raise WeightsError("it is damaged: no list of storages")
    for key in keys:
        storage = storages.get(str(key))
        if storage is None:
            raise WeightsError(f"numbers of an unknown storage {str(key)[:40]!r}")
        dtype = STORAGE_TYPES[storage.kind]
        (count,) = np.frombuffer(_exactly(file, 8), "<i8")
        if count != storage.count:
            raise WeightsError(f"a storage of {count} numbers, not {storage.count}")
        storage.values = np.frombuffer(_exactly(file, int(count) * dtype.itemsize), dtype)
    return plain(content)


def _exactly(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise WeightsError("it ends in the middle of its numbers")
    return content
