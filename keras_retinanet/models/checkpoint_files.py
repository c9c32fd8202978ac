"""Checkpoint files: written whole or not at all, read with a check of every byte that counts.

One .npz file holds all arrays of a training and, as JSON, what is no array. ZIP keeps a CRC-32 of
each member, which reading verifies; a file that was cut off has no directory and is refused.

Keras' own `BackupAndRestore` writes in place, keeps neither the state of callbacks nor the place in
the data, and fails on a file that was cut off.
"""

import errno
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_retinanet.errors import CheckpointError
from keras_retinanet.system.atomic_files import remove_unfinished, whole_file
from keras_retinanet.system.buckets.incoming import fetched

SUFFIX = ".npz"
_STATE = "state.json"
_NAME = re.compile(r"step_(\d+)\.npz")


@dataclass(frozen=True)
class Checkpoint:
    """The arrays by name, and the state as JSON holds it."""

    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the file of the checkpoint after `step` steps of the whole training."""
    return folder / f"step_{step:08d}{SUFFIX}"


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that `path` is, at any moment, absent, the old file or the new one.

    Raises:
        CheckpointError: it cannot be written; what was there before is as it was.
    """
    # As bytes, so that all is in one file and under one check.
    state = np.frombuffer(json.dumps(checkpoint.state).encode(), np.uint8)
    arrays: dict[str, Any] = {_STATE: state, **checkpoint.arrays}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, suffix=SUFFIX, sync=True) as unfinished:
            np.savez(unfinished, **arrays)
    except OSError as error:
        advice = "free some space" if error.errno == errno.ENOSPC else "look at the folder"
        raise CheckpointError(
            f"the checkpoint {path} cannot be written ({error.strerror or error}); earlier ones "
            f"are intact: {advice}, and go on with retinanet train --resume {path.parent.parent}"
        ) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint whose every array was read and checked.

    Raises:
        CheckpointError: it is damaged, or no checkpoint.
        BucketError: it is in a bucket, and cannot be had.
    """
    path = fetched(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        state = json.loads(arrays.pop(_STATE).tobytes())
        if not isinstance(state, dict):
            raise ValueError("the state is not a mapping")
    except Exception as error:  # of ZIP, NumPy and JSON, and of many kinds
        raise CheckpointError(f"the checkpoint {path} is damaged ({error})") from error
    return Checkpoint(arrays, state)


def put_group(
    arrays: dict[str, np.ndarray], group: str, variables: Sequence[keras.Variable]
) -> None:
    """Assign the arrays of a group ("model", "optimizer", "metrics") to variables of their order.

    Raises:
        CheckpointError: they have other shapes.
    """
    names = sorted(name for name in arrays if name.startswith(f"{group}/"))
    shapes = [tuple(arrays[name].shape) for name in names]
    expected = [tuple(variable.shape) for variable in variables]
    if shapes != expected:
        raise CheckpointError(
            f"the checkpoint's {group} does not fit: {len(shapes)} arrays, and not "
            f"{len(expected)} of the same shapes; it was written with other settings"
        )
    for name, variable in zip(names, variables, strict=True):
        variable.assign(arrays[name])


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the oldest first."""
    names = map(_NAME.fullmatch, (path.name for path in folder.glob(f"step_*{SUFFIX}")))
    found = sorted((int(name[1]), name[0]) for name in names if name)
    return [folder / name for _, name in found]


def newest_checkpoint(folder: Path) -> tuple[Path | None, Checkpoint | None, list[str]]:
    """Return the newest checkpoint that can be read, and what is wrong with newer ones.

    Raises:
        CheckpointError: there are checkpoints, and none can be read.
    """
    faults: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return path, read_checkpoint(path), faults
        except CheckpointError as error:
            faults.append(str(error))
    if faults:
        raise CheckpointError(f"no checkpoint in {folder} can be read: {'; '.join(faults)}")
    return None, None, []


def remove_old_checkpoints(folder: Path, *, keep: int) -> None:
    """Keep the newest few checkpoints, and remove what interrupted writing left."""
    for path in list_checkpoints(folder)[:-keep]:
        path.unlink(missing_ok=True)
    remove_unfinished(folder)
