"""Reader of what KerasHub saves: a preset's folder, or a .keras file; arrays and configs.

Configs are read as JSON, and no layer in them is built.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.files.hdf5_file import read_keras_weights

# The key under which the config of the whole model is told.
MODEL_CONFIG = "keras_config"
PRESET_CONFIG = "config.json"

_CONFIG = "config.json"
_WEIGHTS = "model.weights.h5"
_TASK_CONFIG = "task.json"
_TASK_WEIGHTS = "task.weights.h5"
_SHARDED = "model.weights.json"
_MAX_CONFIG_BYTES = 16 * 2**20
# Of a zip's local header: its fixed part, and where in it the lengths of name and extra stand.
_LOCAL_HEADER_BYTES = 30
_LENGTHS_AT = 26
# What Python's reader of zip files makes of a damaged one.
_DAMAGES = (zipfile.BadZipFile, OSError, KeyError, NotImplementedError, EOFError)


def is_keras_archive(path: Path) -> bool:
    """Return whether a zip file holds what Keras 3 saves."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {_CONFIG, _WEIGHTS} <= {*archive.namelist()}
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return False


def is_of_keras_hub(path: Path) -> bool:
    """Return whether a file is a .keras file with a model of KerasHub."""
    if not path.is_file() or not is_keras_archive(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            config = _config(archive, path)
    except (WeightsError, *_DAMAGES):
        return False
    return str(config.get("registered_name")).startswith("keras_hub>")


def read_keras_archive(path: Path) -> dict[str, Any]:
    """Return a .keras file's arrays by layer, and its config under MODEL_CONFIG.

    Raises:
        WeightsError: it is damaged, or its parts are packed.
    """
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
            config = _config(archive, path)
            weights = _entry(archive, _WEIGHTS, path)
            start = _start_of(file, weights)
            window = io.BufferedReader(_Window(file, start, weights.file_size))
            arrays = read_keras_weights(window, weights.file_size)
    except _DAMAGES as error:
        raise WeightsError(f"it is damaged: {str(error)[:200]}") from error
    return {**arrays, MODEL_CONFIG: config}


def read_keras_preset(folder: Path) -> dict[str, Any]:
    """Return as `read_keras_archive` what a preset of a model with its heads holds.

    Raises:
        WeightsError: a file is missing or damaged, or it is a preset of a backbone alone.
    """
    if not (folder / _TASK_CONFIG).is_file():
        raise WeightsError(
            f"it has no {_TASK_CONFIG}: a preset of a backbone alone has no heads; save the object "
            "detector with save_to_preset"
        )
    if not (folder / _WEIGHTS).is_file() and (folder / _SHARDED).is_file():
        raise WeightsError("its weights are in several files: save it with max_shard_size=None")
    arrays: dict[str, Any] = {}
    for name in (_WEIGHTS, _TASK_WEIGHTS):
        path = folder / name
        if not path.is_file():
            raise WeightsError(f"it has no {name}")
        try:
            found = read_keras_weights(path, path.stat().st_size)
        except WeightsError as error:
            raise WeightsError(f"{name}: {error}") from error
        for key, array in found.items():
            if key in arrays:
                raise WeightsError(f"{key} is in {_WEIGHTS} and in {_TASK_WEIGHTS}")
            arrays[key] = array
    config = folder / _TASK_CONFIG
    if config.stat().st_size > _MAX_CONFIG_BYTES:
        raise WeightsError(f"{_TASK_CONFIG} has {config.stat().st_size:,} bytes")
    return {**arrays, MODEL_CONFIG: _json(config.read_bytes(), _TASK_CONFIG)}


def _config(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    entry = _entry(archive, _CONFIG, path)
    if entry.file_size > _MAX_CONFIG_BYTES:
        raise WeightsError(f"a config of {entry.file_size:,} bytes")
    return _json(archive.read(entry), _CONFIG)


def _entry(archive: zipfile.ZipFile, name: str, path: Path) -> zipfile.ZipInfo:
    entries = [entry for entry in archive.infolist() if entry.filename == name]
    if len(entries) != 1:
        raise WeightsError(f"it has {len(entries)} entries called {name}, and not one")
    # Keras packs nothing: a packed entry may be as large as one likes.
    is_larger = entries[0].file_size > path.stat().st_size
    if entries[0].compress_type != zipfile.ZIP_STORED or is_larger:
        raise WeightsError(f"{name} in it is packed, which Keras does not write")
    return entries[0]


def _start_of(file: Any, entry: zipfile.ZipInfo) -> int:
    """Return where in the archive an entry's content begins."""
    file.seek(entry.header_offset + _LENGTHS_AT)
    lengths = np.frombuffer(file.read(4), "<u2")
    if len(lengths) != 2:
        raise WeightsError(f"it ends before {entry.filename}")
    return entry.header_offset + _LOCAL_HEADER_BYTES + int(lengths.sum())


class _Window(io.RawIOBase):
    """A part of a file as a file, so that arrays are read from where they lie."""

    def __init__(self, file: Any, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        count = min(len(view), max(self._size - self._at, 0))
        self._file.seek(self._start + self._at)
        read = self._file.readinto(view[:count])
        self._at += read
        return int(read)


def _json(text: bytes, name: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{name} is damaged: {str(error)[:200]}") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{name} is damaged: expected settings by name")
    return config
