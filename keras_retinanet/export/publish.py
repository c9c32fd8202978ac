"""Versioned folders that appear whole: written beside, synced to the disk, renamed.

A folder is renamed once, as a whole: `system.atomic_files` does that for single files alone, and
no library writes folders so.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from keras_retinanet.detection.load_detector import SAVED_MODEL_FILE
from keras_retinanet.detection.manifest import MANIFEST_FILE
from keras_retinanet.system.atomic_files import sync_to_disk
from keras_retinanet.system.buckets.outgoing import outgoing, send
from keras_retinanet.system.locks import file_lock

# Hidden, and no number: TensorFlow Serving takes it for no version.
_TEMPORARY = ".export-"
# In buckets, where nothing can be renamed, these come after all else of a version: the file that
# makes it one for TensorFlow Serving, and that without which it is no export.
MARKS = (f"*/{SAVED_MODEL_FILE}", f"*/{MANIFEST_FILE}")


def publish(folder: Path, write: Callable[[Path], None]) -> Path:
    """Call `write` with a new empty folder, publish that as `folder`/<next version>, return it.

    Nobody sees the version before it is whole and on the disk. If `write` raises, nothing is left.
    What killed exports have left in `folder` is removed; exports that still run are left alone.

    Raises:
        BucketError: the folder is in a bucket, and the version cannot be written there.
    """
    folder = outgoing(folder, last=MARKS)
    folder.mkdir(parents=True, exist_ok=True)
    with _workplace(folder) as temporary:
        write(temporary)
        _sync(temporary)
        with file_lock(folder):
            version = folder / str(next_version(folder))
            temporary.rename(version)
            sync_to_disk(folder)
    send(version)
    return version


def next_version(folder: Path) -> int:
    """Return the number after the highest version in a folder; 1 if there is none."""
    numbers = [int(p.name) for p in folder.iterdir() if p.name.isascii() and p.name.isdecimal()]
    return max(numbers, default=0) + 1


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Make a folder that is locked while this process lives, and is gone afterwards."""
    with contextlib.ExitStack() as lock:
        with file_lock(folder):
            _remove_leftovers(folder)
            temporary = folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
            temporary.mkdir()
            lock.enter_context(file_lock(temporary))
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    for leftover in folder.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError), file_lock(leftover, wait=False):
            shutil.rmtree(leftover, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Write a folder's files and its folders' entries to the disk."""
    for place, _, files in os.walk(folder):
        for file in files:
            sync_to_disk(Path(place, file))
        sync_to_disk(Path(place))
