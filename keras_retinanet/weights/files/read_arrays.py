"""What a weights file of any kind that is known holds: arrays under names, and what is said."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.files.hdf5_file import HDF5_MAGIC, read_hdf5
from keras_retinanet.weights.files.keras_archive import (
    PRESET_CONFIG,
    is_keras_archive,
    read_keras_archive,
    read_keras_preset,
)
from keras_retinanet.weights.files.safe_pickle import load, plain
from keras_retinanet.weights.files.tensorflow_checkpoint import checkpoint_prefix, read_checkpoint
from keras_retinanet.weights.files.torch_file import (
    ZIP_MAGIC,
    is_old_torch,
    read_old_torch,
    read_torch_archive,
)

_PICKLE_MAGIC = b"\x80"
_HEAD_BYTES = 64
# Where training programs put the weights among what else they keep.
_PLACES = ("state_dict", "model_state_dict", "model", "weights", "blobs", "ema_state_dict")
_MAX_HEADER_BYTES = 100 * 2**20
_SAFETENSORS_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U8": "u1", "BOOL": "?", "BF16": "<u2",
}  # fmt: skip


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds.

    Attributes:
        arrays: by their names.
        about: what else it says: containers, numbers and texts under names.
    """

    arrays: dict[str, np.ndarray]
    about: Mapping[str, Any]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file, by their names: see `read_weights_file`."""
    return read_weights_file(path).arrays


def read_weights_file(path: Path) -> WeightsFile:
    """Return what a file of weights holds, of any kind that is known.

    Nothing in the file is run, and no torch is needed.

    Args:
        path: a .pth (of any age), .pkl, .safetensors, .h5 or .keras file, the folder of a preset of
            KerasHub, or a checkpoint of TensorFlow: what its files' names begin with.

    Raises:
        WeightsError: it cannot be read, is of another kind, damaged, or asks for code to be run.
    """
    try:
        content = _content(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except WeightsError as error:
        message = str(error)
        raise WeightsError(message if str(path) in message else f"{path}: {message}") from error
    arrays = _arrays_in(content)
    if not arrays:
        raise WeightsError(f"{path} holds no weights: no arrays under names")
    about = {name: value for name, value in content.items() if name not in arrays}
    about = {name: value for name, value in about.items() if isinstance(name, str)}
    return WeightsFile(arrays, {**about, "file_name": path.name})


def weights_exist(path: Path) -> bool:
    """Return whether there is something at a path that `read_weights_file` may read."""
    return path.exists() or checkpoint_prefix(path) is not None


def _content(path: Path) -> Any:
    if path.is_dir() and (path / PRESET_CONFIG).is_file():
        return read_keras_preset(path)
    prefix = checkpoint_prefix(path)
    if prefix is not None:
        return read_checkpoint(prefix)
    if path.is_dir():
        raise WeightsError(
            f"expected a preset of KerasHub, with {PRESET_CONFIG}, or a checkpoint of TensorFlow "
            "in this folder"
        )
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        if head.startswith(ZIP_MAGIC):
            is_keras = is_keras_archive(path)
            return read_keras_archive(path) if is_keras else read_torch_archive(path)
        if head.startswith(HDF5_MAGIC):
            arrays, texts = read_hdf5(path)
            return {**texts, **arrays}
        if path.suffix.lower() == ".safetensors":
            return _read_safetensors(path)
        if head.startswith(_PICKLE_MAGIC):
            # Files of Python 2, such as Detectron's, hold bytes that are no ASCII.
            return (
                read_old_torch(file) if is_old_torch(head) else plain(load(file, encoding="latin1"))
            )
    raise WeightsError(
        "expected a .pth, .pkl, .safetensors, .h5 or .keras file, a preset of KerasHub or a "
        f"checkpoint of TensorFlow, not a file that begins with {head[:8]!r}"
    )


def _arrays_in(content: Any) -> dict[str, np.ndarray]:
    if not isinstance(content, dict):
        return {}
    for place in _PLACES:
        inside = content.get(place)
        if isinstance(inside, dict) and any(isinstance(v, np.ndarray) for v in inside.values()):
            content = inside
            break
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, np.ndarray)
    }


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read a header of names, types, shapes and places, and the numbers behind it."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(_MAX_HEADER_BYTES, len(content) - 8):
        raise WeightsError("it ends within its header")
    try:
        header = json.loads(content[8 : 8 + length])
        numbers = memoryview(content)[8 + length :]
        return {
            name: _safetensor(entry, numbers)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"its header is damaged: {str(error)[:200]}") from error


def _safetensor(entry: dict[str, Any], numbers: memoryview) -> np.ndarray:
    dtype, shape = np.dtype(_SAFETENSORS_TYPES[entry["dtype"]]), entry["shape"]
    start, end = entry["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, start, end)):
        raise ValueError("places and shapes are whole numbers")
    if end > len(numbers) or math.prod(shape) * dtype.itemsize != end - start:
        raise ValueError(f"an array of {shape} does not lie in the file")
    array = np.frombuffer(numbers[start:end], dtype).reshape(shape)
    if entry["dtype"] == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array
