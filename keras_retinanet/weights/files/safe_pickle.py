"""A reader of pickles that knows arrays, tensors and plain containers, and calls nothing else.

A pickle is a program: what `pickle.load` reads may run anything. Here every name that a file asks
for is looked up in a list of harmless stand-ins, and any other name ends the reading.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from keras_retinanet.errors import WeightsError

# Types of torch's storages; bfloat16 is no type of NumPy's, and is read as its upper half.
STORAGE_TYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
BFLOAT16 = "BFloat16Storage"
_NUMPY_KINDS = "fiub"
_MAX_DIMENSIONS = 8


@dataclass
class Storage:
    """Numbers of a file that tensors are views of; filled once the file has been read to there."""

    kind: str
    count: int
    values: np.ndarray | None = None


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, as torch pickles it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Return the values.

        Raises:
            WeightsError: it reaches beyond its storage, or is no array of distinct numbers.
        """
        values = self.storage.values
        if values is None or len(self.shape) != len(self.strides):
            raise WeightsError("a tensor has no values in the file")
        size = int(np.prod(self.shape, dtype=object)) if self.shape else 1
        last = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        # Strides of 0 would make a small file a large array.
        is_view = len(self.shape) <= _MAX_DIMENSIONS and size <= len(values)
        if size and not (
            is_view and min(self.strides, default=0) >= 0 and 0 <= self.offset + last < len(values)
        ):
            raise WeightsError(f"a tensor of {self.shape} does not fit its {len(values)} values")
        if not size:
            return np.zeros(self.shape, values.dtype)
        part = values[self.offset :]
        steps = [s * values.itemsize for s in self.strides]
        array = np.lib.stride_tricks.as_strided(part, self.shape, steps, writeable=False)
        if self.storage.kind == BFLOAT16:
            return (array.astype(np.uint32) << 16).view(np.float32)
        # A copy of a part lets go of the rest; what is the whole needs none.
        return array if size == len(values) else np.array(array)


def load(
    file: BinaryIO, *, storage_of: Callable[[tuple], Storage] | None = None, encoding: str = "ASCII"
) -> Any:
    """Return the next object of a pickle: containers, numbers, texts, arrays and `Tensor`s.

    Args:
        storage_of: makes a storage of what torch writes in place of one.

    Raises:
        WeightsError: the pickle is damaged, or asks for anything else.
    """
    reader = _Reader(file, encoding=encoding)
    reader.storage_of = storage_of
    try:
        return reader.load()
    except WeightsError:
        raise
    except Exception as error:  # whatever a damaged pickle makes of the stack machine
        raise WeightsError(
            f"damaged or not a pickle: {type(error).__name__}: {error}"[:200]
        ) from error


class _Reader(pickle.Unpickler):
    storage_of: Callable[[tuple], Storage] | None = None

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in STORAGE_TYPES:
            return _StorageType(name)
        try:
            return _HARMLESS[module, name]
        except KeyError:
            raise WeightsError(
                f"it asks for {module}.{name}, which no weights need: such a file may run code, "
                "and is not read"
            ) from None

    def persistent_load(self, pid: Any) -> Storage:
        if self.storage_of is None or not isinstance(pid, tuple) or len(pid) < 5:
            raise WeightsError("it refers to something outside of itself")
        if pid[0] != "storage" or not isinstance(pid[1], _StorageType):
            raise WeightsError(f"it refers to {str(pid[0])[:40]!r}, which is no storage of numbers")
        return self.storage_of(pid)


@dataclass(frozen=True)
class _StorageType:
    name: str


class _Array:
    """Stands in for numpy.ndarray while its pickle is read."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, content = state
        if not isinstance(dtype, _DType) or not isinstance(content, bytes | str):
            raise WeightsError("an array of something else than numbers")
        content = content.encode("latin1") if isinstance(content, str) else content
        values = np.frombuffer(content, dtype.value)
        self.value = values.reshape(shape, order="F" if is_fortran else "C")


class _DType:
    """Stands in for numpy.dtype: a type of numbers, of either byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        if isinstance(code, bytes):
            code = code.decode("ascii")
        if not isinstance(code, str) or len(code) > 4 or np.dtype(code).kind not in _NUMPY_KINDS:
            raise WeightsError(f"an array of {str(code)[:20]!r}, and not of numbers")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.value = self.value.newbyteorder(state[1])


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(dtype: _DType, content: bytes | str) -> Any:
    content = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(content, dtype.value)[0]


def _from_buffer(content: Any, dtype: _DType, shape: tuple, order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", bytes(content)))
    return array


def _no_bytes() -> bytes:
    """How protocol 2 writes an array without numbers."""
    return b""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise WeightsError(f"a text in {encoding!r}, and not an array's bytes")
    return text.encode("latin1")


def _tensor(storage: Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> Tensor:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise WeightsError("a tensor whose place or shape is no whole number")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Tensor, *_: Any) -> Tensor:
    return tensor


_HARMLESS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    **{
        (f"numpy.{core}.multiarray", name): stand_in
        for core in ("core", "_core")
        for name, stand_in in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
}


def plain(value: Any) -> Any:
    """Return an object with arrays in place of the stand-ins; it is no deeper than weights are."""
    return _plain(value, depth=0)


def _plain(value: Any, depth: int) -> Any:
    if depth > 20:
        raise WeightsError("nested more deeply than weights are")
    if isinstance(value, Tensor):
        return value.array()
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    return value
