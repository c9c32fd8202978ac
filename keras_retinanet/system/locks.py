"""Locks between processes, which the system releases when a process ends, however it ends."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import lock_descriptor


@contextlib.contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Hold the lock of a file, which is made if need be, or of a folder; yield its descriptor.

    filelock's locks of descriptors, and not its FileLock: that one locks no folder, and some of
    its versions empty the file that they cannot lock. Windows cannot open folders: there a folder
    is not locked, and without `wait` it counts as locked by another.

    Raises:
        BlockingIOError: another holds it, and `wait` is False.
        OSError: it cannot be opened, or its file system has no locks.
    """
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        if not wait:
            raise BlockingIOError(f"{path} cannot be locked here: whether it is in use is unknown")
        yield -1
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not lock_descriptor(descriptor, blocking=wait):
            raise BlockingIOError(f"{path} is locked by another process")
        yield descriptor
    finally:
        os.close(descriptor)
