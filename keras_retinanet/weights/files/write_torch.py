"""`write_torch`: a state dict in torch's archive, without torch."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

# Names of torch's storages, by types of numbers.
_STORAGES = {"float32": "FloatStorage", "int64": "LongStorage"}
_TOP = "archive"
# The format of the archive, which torch.load looks at.
_VERSION = "3\n"


def write_torch(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of float32 or int64 as `torch.save` writes a state dict of tensors.

    `torch.load` reads it with weights_only=True, and so does `read_arrays`.
    """
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # An array without axes would have got one.
    kept = {name: array.reshape(arrays[name].shape) for name, array in kept.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{_TOP}/data.pkl", _state_dict(kept))
        archive.writestr(f"{_TOP}/version", _VERSION)
        archive.writestr(f"{_TOP}/byteorder", "little")
        for i, array in enumerate(kept.values()):
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            archive.writestr(f"{_TOP}/data/{i}", little.tobytes())


def _state_dict(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the pickle (protocol 2) of an OrderedDict of tensors over the storages 0, 1, ..."""
    items = b"".join(
        _text(name) + _tensor(array, str(i)) for i, (name, array) in enumerate(arrays.items())
    )
    return b"\x80\x02" + _ORDERED_DICT + b"(" + items + b"u."


def _tensor(array: np.ndarray, key: str) -> bytes:
    storage = _tuple(
        _text("storage"),
        _global("torch", _STORAGES[array.dtype.name]),
        _text(key),
        _text("cpu"),
        _number(array.size),
    )
    steps = (step // array.itemsize for step in array.strides)
    arguments = _tuple(
        storage + b"Q",  # a reference, which the reader resolves
        _number(0),
        _tuple(*map(_number, array.shape)),
        _tuple(*map(_number, steps)),
        b"\x89",  # requires_grad = False
        _ORDERED_DICT,  # its hooks
    )
    return _global("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode("ascii")


def _text(text: str) -> bytes:
    content = text.encode("utf-8")
    return b"X" + len(content).to_bytes(4, "little") + content


def _number(number: int) -> bytes:
    return b"J" + number.to_bytes(4, "little", signed=True)


def _tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


_ORDERED_DICT = _global("collections", "OrderedDict") + b")R"
