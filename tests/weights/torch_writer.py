"""Writes files as torch does, without torch."""

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from contextlib import contextmanager

import numpy as np

NAMES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class _Tensor:
    def __init__(self, array, key):
        self.array, self.key = array, key

    def __reduce__(self):
        array = self.array
        strides = tuple(s // array.itemsize for s in array.strides)
        storage = _Storage(array, self.key)
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (storage, 0, array.shape, strides, False, OrderedDict())


class _Storage:
    def __init__(self, array, key):
        self.array, self.key = array, key


class _Pickler(pickle.Pickler):
    def __init__(self, file, is_old):
        super().__init__(file, protocol=2)
        self.is_old = is_old

    def persistent_id(self, value):
        if not isinstance(value, _Storage):
            return None
        kind = getattr(sys.modules["torch"], NAMES[str(value.array.dtype)])
        pid = ("storage", kind, value.key, "cpu", value.array.size)
        return (*pid, None) if self.is_old else pid


@contextmanager
def _modules():
    """Modules of torch's names, for what is pickled by its name."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in NAMES.values():
        kind = type(name, (), {})
        kind.__module__ = "torch"
        setattr(torch, name, kind)

    def _rebuild_tensor_v2():
        raise AssertionError

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2, torch._utils = _rebuild_tensor_v2, utils
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def tensors(arrays):
    return OrderedDict(
        (name, _Tensor(np.asarray(array), str(i))) for i, (name, array) in enumerate(arrays.items())
    )


def write_torch(path, arrays, *, wrap=lambda state: state, is_old=False):
    """Write a state dict; `wrap` puts it into what training programs save."""
    state = tensors(arrays)
    with _modules():
        content = _pickled(wrap(state), is_old)
    numbers = {t.key: np.ascontiguousarray(t.array).tobytes() for t in state.values()}
    if is_old:
        path.write_bytes(_old(content, state, numbers))
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
        for key, part in numbers.items():
            archive.writestr(f"archive/data/{key}", part)
    return path


def _pickled(value, is_old):
    file = io.BytesIO()
    _Pickler(file, is_old).dump(value)
    return file.getvalue()


def _old(content, state, numbers):
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "type_sizes": {"int": 4}}]
    parts = [pickle.dumps(value, 2) for value in head]
    parts += [content, pickle.dumps([t.key for t in state.values()], 2)]
    for tensor in state.values():
        parts += [tensor.array.size.to_bytes(8, "little"), numbers[tensor.key]]
    return b"".join(parts)
