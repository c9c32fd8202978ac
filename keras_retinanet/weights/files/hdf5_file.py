"""Reader of HDF5 files (.h5), as Keras writes them: arrays of numbers by their paths.

Nothing that a file points to is opened, and no layer or config in it is built.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from keras_retinanet.errors import WeightsError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_NUMBERS = "fiu"
# Where Keras keeps what a training goes on with.
_OPTIMIZER = "optimizer_weights"
_MAX_DEPTH = 32
_MAX_ARRAYS = 100_000
_MAX_TEXT = 16 * 2**20


def read_hdf5(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays by their paths, and the texts that the file itself has as attributes.

    Raises:
        WeightsError: it is damaged, packed, points to other files or states more than it holds.
    """
    try:
        with h5py.File(path, "r") as file:
            found: dict[str, h5py.Dataset] = {}
            _collect(file, "", found, seen=set())
            stated = sum(dataset.nbytes for dataset in found.values())
            if stated > path.stat().st_size:
                raise WeightsError(
                    f"its arrays are stated as {stated:,} bytes, and it has "
                    f"{path.stat().st_size:,}: it is cut off or damaged"
                )
            return {name: np.asarray(dataset[()]) for name, dataset in found.items()}, _texts(file)
    except WeightsError:
        raise
    except Exception as error:  # whatever the library makes of a damaged file
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"a damaged HDF5 file: {reason or type(error).__name__}") from error


def _collect(group: h5py.Group, prefix: str, found: dict[str, Any], seen: set[int]) -> None:
    if prefix.count("/") > _MAX_DEPTH or len(found) > _MAX_ARRAYS:
        raise WeightsError("its groups are nested more deeply, or are more, than those of weights")
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        raise WeightsError(f"its group {prefix!r} is there twice, which Keras does not write")
    seen.add(address)
    for name in group:
        path = f"{prefix}{name}"
        if path == _OPTIMIZER:
            continue
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise WeightsError(f"{path} points elsewhere, which is not followed")
        item = group[name]
        if isinstance(item, h5py.Group):
            _collect(item, f"{path}/", found, seen)
        elif isinstance(item, h5py.Dataset) and item.dtype.kind in _NUMBERS:
            if item.external or item.is_virtual or item.id.get_create_plist().get_nfilters():
                raise WeightsError(
                    f"{path} is packed, or its numbers lie in other files, which Keras does not "
                    "write"
                )
            found[path] = item


def _texts(file: h5py.File) -> dict[str, str]:
    texts = {}
    for name in file.attrs:
        if file.attrs.get_id(name).get_storage_size() > _MAX_TEXT:
            continue
        value = file.attrs[name]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            texts[name] = value
    return texts
