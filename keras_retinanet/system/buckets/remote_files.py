"""What is done to buckets, by way of fsspec: listed, read, written, removed; each error a line."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from keras_retinanet.errors import BucketError, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Requests under way at the same time: they wait for the network, and not for a core.
AT_ONCE = 16
# Here a file that is being written is, at any moment, the old one or the whole new one. Elsewhere
# it is written beside and renamed.
_WHOLE_AT_ONCE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "memory"}
_UNFINISHED = ".unfinished"
# What file systems call what changes with a file's content, the surest first.
_TELLS_CONTENT = (
    *("ETag", "etag", "generation", "md5Hash", "content_md5"),
    *("LastModified", "last_modified", "updated", "mtime", "modified", "created"),
)
_EXTRA = 'pip install "retinanet-keras[buckets]"'


@dataclass(frozen=True)
class RemoteFile:
    """A file as a listing tells it; `stamp` changes with its content."""

    num_bytes: int
    stamp: int


def find(address: str) -> dict[str, RemoteFile]:
    """Return the files below an address by their names from there on, from one listing.

    A file itself has the name "". Nothing is found where nothing is.
    """
    with _one_line(address, "read"):
        system, path = _opened(address)
        try:
            found = system.find(path, detail=True)
        except FileNotFoundError:
            return {}
    return _by_name(address, path, found.values())


def files_in(address: str) -> dict[str, RemoteFile]:
    """Return the files in a folder itself, as `find` does."""
    with _one_line(address, "read"):
        system, path = _opened(address)
        try:
            found = system.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
    return _by_name(address, path, found)


def is_file(address: str) -> bool:
    """Return whether there is a file of this address."""
    with _one_line(address, "read"):
        system, path = _opened(address)
        return bool(system.isfile(path))


def read(address: str, start: int, length: int) -> bytes:
    """Return a range of the bytes of a file, cut off where that ends."""
    with _one_line(address, "read"):
        system, path = _opened(address)
        return bytes(system.cat_file(path, start=start, end=start + length))


def download(address: str, target: Path) -> None:
    """Write a file's content into a local file."""
    with _one_line(address, "read"):
        system, path = _opened(address)
        system.get_file(path, str(target))


def upload(source: Path, address: str) -> None:
    """Write a local file's content to an address: there it is the old one, or the whole new one."""
    with _one_line(address, "written"):
        system, path = _opened(address)
        if address.partition("://")[0] in _WHOLE_AT_ONCE:
            system.put_file(str(source), path)
            return
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.put_file(str(source), path + _UNFINISHED)
        system.mv(path + _UNFINISHED, path)


def write(address: str, content: bytes) -> None:
    """Write a small file."""
    with _one_line(address, "written"):
        system, path = _opened(address)
        if address.partition("://")[0] not in _WHOLE_AT_ONCE:
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, content)


def remove(address: str) -> None:
    """Remove a file, if it is there."""
    with _one_line(address, "removed"), contextlib.suppress(FileNotFoundError):
        system, path = _opened(address)
        system.rm_file(path)


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what `work` returns of each, many at once; an error stops what has not begun."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(cancel_futures=True)


def _opened(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and what it calls it; both come from fsspec's cache."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise BucketError(f"{address} needs the package fsspec: {_EXTRA}") from error
    try:
        # What was listed before is no answer: others write, too.
        return url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        package = _package_of(address.partition("://")[0])
        raise BucketError(
            f"{address} needs the package {package}: pip install {package}"
        ) from error
    except ValueError as error:  # "Protocol not known: ..."
        raise BucketError(f"{address} cannot be opened: {error}") from error


def _package_of(scheme: str) -> str:
    from fsspec.registry import known_implementations

    return str(known_implementations[scheme]["class"]).partition(".")[0]


def _by_name(address: str, path: str, found: Iterable[dict[str, Any]]) -> dict[str, RemoteFile]:
    files = {}
    for info in found:
        key = info["name"]
        # What makes a folder of a name is no file.
        if info["type"] == "directory" or (key.endswith("/") and not info.get("size")):
            continue
        name = key[len(path) :].lstrip("/") if key.startswith(path) else key
        parts = name.split("/")
        if ".." in parts or ("" in parts and name):
            raise BucketError(f"{address}: {key!r} cannot be the name of a local file: rename it")
        if not name.endswith(_UNFINISHED):
            files[name] = RemoteFile(int(info["size"] or 0), _stamp(info))
    return files


def _stamp(info: dict[str, Any]) -> int:
    """Return a number that a local file can have as its time, so that the two can be compared."""
    tells = next((info[key] for key in _TELLS_CONTENT if info.get(key) is not None), "")
    digest = hashlib.sha256(f"{info['size']} {tells}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1  # seconds that every file system can hold


@contextlib.contextmanager
def _one_line(address: str, done: str) -> Iterator[None]:
    """Make one line of what a file system raises, and that is of many kinds."""
    try:
        yield
    except (UserError, FileNotFoundError) as error:
        if isinstance(error, UserError):
            raise
        raise BucketError(
            f"{address} cannot be {done}: {_reason(error)}: see that bucket and name are right"
        ) from error
    except Exception as error:
        kind = type(error).__name__
        is_access = isinstance(error, PermissionError) or "Credential" in kind or "Auth" in kind
        mend = (
            "see that credentials are set, and are allowed to do this"
            if is_access
            else "see that the address is right, and the network is there"
        )
        raise BucketError(f"{address} cannot be {done}: {_reason(error)}: {mend}") from error


def _reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).rstrip(".")
