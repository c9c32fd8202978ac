"""What is written to buckets: local folders in their place, whose files are sent once whole.

A folder begins as a picture of what lies in the bucket. Sending compares the two: new and changed
files first, then those that say that all else is there, and at last what is gone is removed. What
cannot be sent stays where it is.
"""

import atexit
import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_retinanet.errors import BucketError, ConfigError
from keras_retinanet.system.atomic_files import UNFINISHED_PREFIX
from keras_retinanet.system.buckets import incoming, remote_files
from keras_retinanet.system.buckets.bucket_address import (
    OUTPUTS,
    address_of,
    is_address,
    parent_of,
    path_of,
    top_folder,
)
from keras_retinanet.system.buckets.sent_folder import SentFolder
from keras_retinanet.system.locks import file_lock

logger = logging.getLogger(__name__)

# Of a process' folder: the lock, and that it holds what could not be sent.
_ALIVE, _KEPT = ".alive", ".not-sent"

# By their local folders.
_every: dict[Path, SentFolder] = {}
_process: contextlib.ExitStack = contextlib.ExitStack()
_own: list[str] = []


def outgoing(place: str | os.PathLike, *, last: Sequence[str] = (), option: str = "") -> Path:
    """Return the local folder in place of an address that is to be written; of any other path, it.

    It shows what lies there, as `staged` does. `send`, and `send_all`, write what is new in it.

    Args:
        last: patterns of the files that say that all others are there, in the order of sending.
        option: names what it was given as, in messages.

    Raises:
        ConfigError: it is a file, or below one.
        BucketError: it cannot be written or read.
    """
    address = address_of(place)
    if address is None:
        return Path(place)
    known = _of(Path(place)) if not is_address(place) else _of(path_of(address, _own_tree()))
    if known is not None:
        known.last = last or known.last
        return Path(known.folder, address[len(known.address) :].lstrip("/"))
    _refuse_unwritable(address, option)
    folder = path_of(address, _own_tree())
    folder.parent.mkdir(parents=True, exist_ok=True)
    _every[folder] = SentFolder(address, folder, last)
    incoming.show_instead(address, folder)
    return folder


def send(folder: Path, *, is_last_word: bool = True) -> None:
    """Send what is new in the folder of an address; nothing where it is none.

    Args:
        is_last_word: raise what goes wrong; otherwise it is logged, and the next time tries again.

    Raises:
        BucketError: it cannot be sent; the local files stay.
        ConfigError: another process has begun to write there.
    """
    known = _of(folder)
    if known is None:
        return
    try:
        _send(known)
    except BucketError as error:
        if is_last_word:
            raise
        logger.warning("%s: tried again with the next checkpoint", error)


def send_all() -> None:
    """Send what is new in all folders; raises as `send`."""
    for each in list(_every.values()):
        _send(each)


def drop_all() -> None:
    """Remove the local folders, but for those with something that could not be sent."""
    _every.clear()
    incoming.forget()
    _process.close()
    for token in _own:
        folder = top_folder() / OUTPUTS / token
        if not (folder / _KEPT).exists():
            shutil.rmtree(folder, ignore_errors=True)
    _own.clear()


@contextlib.contextmanager
def claimed_in_bucket(folder: Path, *, last: Sequence[str]) -> Iterator[None]:
    """Keep the folder of an address to this process, and send what is new in it, however this ends.

    With any other folder, nothing is done.

    Args:
        last: as of `outgoing`.

    Raises:
        ConfigError, BucketError: as `send`.
    """
    known = _of(folder)
    if known is None:
        yield
        return
    known.last = last
    known.claim()
    try:
        yield
    except BaseException as error:
        try:
            _send(known)
        except (BucketError, ConfigError) as problem:
            if str(problem) != str(error):
                logger.warning("%s", problem)
        raise
    else:
        _send(known)
    finally:
        with contextlib.suppress(BucketError):  # then `send` has told
            known.release()


def _send(each: SentFolder) -> None:
    """Send what is new; if that fails, all stays where it is, whatever comes then."""
    kept = _process_folder(each.folder) / _KEPT
    try:
        each.send()
    except (BucketError, ConfigError) as error:
        kept.touch()
        told = f"{error}; nothing is lost, all of it is below {kept.parent}"
        raise type(error)(told) from error
    kept.unlink(missing_ok=True)


def _of(folder: Path) -> SentFolder | None:
    return next((_every[p] for p in (folder, *folder.parents) if p in _every), None)


def _own_tree() -> str:
    """Return the tree of this process; the first call makes it, and removes those of dead ones."""
    if not _own:
        top = top_folder() / OUTPUTS
        top.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(top)
        token = f"{os.getpid()}-{secrets.token_hex(4)}"
        (top / token).mkdir()
        _process.enter_context(file_lock(top / token / _ALIVE))
        atexit.register(drop_all)
        _own.append(token)
    return f"{OUTPUTS}/{_own[0]}"


def _remove_leftovers(top: Path) -> None:
    for folder in top.iterdir():
        if (folder / _KEPT).exists() or not (folder / _ALIVE).exists():
            continue
        with contextlib.suppress(OSError), file_lock(folder / _ALIVE, wait=False):
            shutil.rmtree(folder, ignore_errors=True)


def _process_folder(folder: Path) -> Path:
    top = top_folder() / OUTPUTS
    return top / folder.relative_to(top).parts[0]


def _refuse_unwritable(address: str, option: str) -> None:
    """Refuse what is a file, or cannot be written: before the work, and not after it."""
    each: str | None = address
    while each is not None and parent_of(each) is not None:
        if remote_files.is_file(each):
            raise ConfigError(f"{option}{address}: {each} is a file: name a folder")
        each = parent_of(each)
    trial = f"{address}/{UNFINISHED_PREFIX}{secrets.token_hex(8)}"
    try:
        remote_files.write(trial, b"")
        remote_files.remove(trial)
    except BucketError as error:
        raise BucketError(f"{option}{error}".replace(trial, address)) from error
