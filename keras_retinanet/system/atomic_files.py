"""Files that are, at any moment, absent, the old one or the whole new one.

The standard library has the parts (`os.replace`, `os.fsync`) and not the whole; its temporary files
are private to their owner (0600), and the library for it, atomicwrites, is no longer maintained.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

# Hidden, so that no pattern for the real files finds them.
UNFINISHED_PREFIX = ".unfinished-"


@contextlib.contextmanager
def whole_file(path: Path, *, suffix: str = ".tmp", sync: bool = False) -> Iterator[Path]:
    """Yield the path of a new file beside `path`, which takes its place when all went well.

    Text, bytes or a link: what is written, and how, is the caller's; permissions are those that
    any new file gets. If something is raised, `path` is as it was, and nothing is left beside it.
    What a killed process leaves, `remove_unfinished` finds.

    Args:
        suffix: the new file's, for writers that insist on one.
        sync: the file outlasts a loss of power, too.
    """
    unfinished = path.with_name(f"{UNFINISHED_PREFIX}{secrets.token_hex(8)}{suffix}")
    try:
        yield unfinished
        if sync:
            sync_to_disk(unfinished)
        os.replace(unfinished, path)
        if sync:
            sync_to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all, whenever the process ends."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writers have left in a folder into which no one else writes."""
    for path in folder.glob(f"{UNFINISHED_PREFIX}*"):
        path.unlink(missing_ok=True)


def sync_to_disk(path: Path) -> None:
    """Make the content of a file, or the names in a folder, outlast a loss of power."""
    if os.name == "nt" and path.is_dir():
        return  # Windows does not open folders
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
