"""Versioned folders that appear whole: written beside, synced to the disk, renamed."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Hidden, and no number: TensorFlow Serving takes it for no version.
_TEMPORARY = ".export-"


def publish(folder: Path, write: Callable[[Path], None]) -> Path:
    """Call `write` with a new empty folder, publish that as `folder`/<next version>, return it.

    Nobody sees the version before it is whole and on the disk. If `write` raises, nothing is left.
    What killed exports have left in `folder` is removed; exports that still run are left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _workplace(folder) as temporary:
        write(temporary)
        _sync(temporary)
        with _locked(folder):
            version = folder / str(next_version(folder))
            temporary.rename(version)
            _sync_entry(folder)
    return version


def next_version(folder: Path) -> int:
    """Return the number after the highest version in a folder; 1 if there is none."""
    numbers = [int(p.name) for p in folder.iterdir() if p.name.isascii() and p.name.isdecimal()]
    return max(numbers, default=0) + 1


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Make a folder that is locked while this process lives, and is gone afterwards."""
    with contextlib.ExitStack() as lock:
        with _locked(folder):
            _remove_leftovers(folder)
            temporary = folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
            temporary.mkdir()
            lock.enter_context(_locked(temporary))
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    for leftover in folder.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError), _locked(leftover, wait=False):
            shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the folder's lock; the system releases it when a process ends, however it ends.

    Raises:
        BlockingIOError: another holds it, and `wait` is False.
    """
    if fcntl is None:
        if not wait:
            raise BlockingIOError("no locks here: what is in use cannot be told")
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """Write a folder's files and its folders' entries to the disk."""
    for place, _, files in os.walk(folder):
        for file in files:
            _sync_entry(Path(place, file))
        _sync_entry(Path(place))


def _sync_entry(path: Path) -> None:
    if fcntl is None and path.is_dir():
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
