"""Reader of HDF5 files (.h5), as Keras writes them: arrays of numbers by their paths.

Nothing that a file points to is opened, and no layer or config in it is built.
"""

from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from keras_retinanet.errors import WeightsError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_NUMBERS = "fiu"
# Where Keras 2 and Keras 3 keep what a training goes on with.
_OPTIMIZERS = ("optimizer_weights", "optimizer")
# The group with a layer's numbers in files of Keras 3, and its attribute with the layer's name.
_VARIABLES = "vars"
_NAME = "name"
_MAX_DEPTH = 32
_MAX_ARRAYS = 100_000
_MAX_TEXT = 16 * 2**20


def read_hdf5(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays by their paths, and the texts that the file itself has as attributes.

    Raises:
        WeightsError: it is damaged, packed, points to other files or states more than it holds.
    """
    arrays, texts, _ = _read(path, path.stat().st_size)
    return arrays, texts


def read_keras_weights(file: Path | BinaryIO, num_bytes: int) -> dict[str, np.ndarray]:
    """Return the arrays of a .weights.h5 file of Keras 3 by the names of their layers.

    A path there has a layer's place, such as layers/functional/layers/conv2d_1/vars/0. Here it has
    the layers' own names, where the file tells them, as Keras does since 3.7:
    layers/backbone/layers/stack0_block0_1_conv/0.

    Args:
        file: its path, or its content.
        num_bytes: its size.

    Raises:
        WeightsError: as `read_hdf5`.
    """
    arrays, _, names = _read(file, num_bytes)
    result: dict[str, np.ndarray] = {}
    for path, array in arrays.items():
        parts = path.split("/")
        places = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        named = [names.get(place, part) for place, part in zip(places, parts, strict=True)]
        name = "/".join(part for part in named if part != _VARIABLES)
        if name in result:
            raise WeightsError(f"{name} is there twice")
        result[name] = array
    return result


def _read(
    file: Path | BinaryIO, num_bytes: int
) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, str]]:
    """Return arrays, texts and the names of layers by the paths of their groups."""
    try:
        with h5py.File(file, "r") as content:
            found: dict[str, h5py.Dataset] = {}
            names: dict[str, str] = {}
            _collect(content, "", found, names, seen=set())
            stated = sum(dataset.nbytes for dataset in found.values())
            if stated > num_bytes:
                raise WeightsError(
                    f"its arrays are stated as {stated:,} bytes, and it has "
                    f"{num_bytes:,}: it is cut off or damaged"
                )
            arrays = {name: np.asarray(dataset[()]) for name, dataset in found.items()}
            return arrays, _texts(content), names
    except WeightsError:
        raise
    except Exception as error:  # whatever the library makes of a damaged file
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"a damaged HDF5 file: {reason or type(error).__name__}") from error


def _collect(
    group: h5py.Group,
    prefix: str,
    found: dict[str, h5py.Dataset],
    names: dict[str, str],
    seen: set[int],
) -> None:
    if prefix.count("/") > _MAX_DEPTH or len(found) > _MAX_ARRAYS:
        raise WeightsError("its groups are nested more deeply, or are more, than those of weights")
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        raise WeightsError(f"its group {prefix!r} is there twice, which Keras does not write")
    seen.add(address)
    for name in group:
        path = f"{prefix}{name}"
        if path in _OPTIMIZERS:
            continue
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise WeightsError(f"{path} points elsewhere, which is not followed")
        item = group[name]
        if isinstance(item, h5py.Group):
            if name == _VARIABLES and _NAME in item.attrs:
                names[prefix.removesuffix("/")] = _text(item, _NAME) or ""
            _collect(item, f"{path}/", found, names, seen)
        elif isinstance(item, h5py.Dataset) and item.dtype.kind in _NUMBERS:
            if item.external or item.is_virtual or item.id.get_create_plist().get_nfilters():
                raise WeightsError(
                    f"{path} is packed, or its numbers lie in other files, which Keras does not "
                    "write"
                )
            found[path] = item


def _texts(file: h5py.File) -> dict[str, str]:
    found = {name: _text(file, name) for name in file.attrs}
    return {name: text for name, text in found.items() if text is not None}


def _text(group: h5py.Group, name: str) -> str | None:
    """Return an attribute that is a text and not huge; None, where it is not."""
    if group.attrs.get_id(name).get_storage_size() > _MAX_TEXT:
        return None
    value: Any = group.attrs[name]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None
