"""What is read from buckets: local folders that show what lies there, and are filled as needed.

A folder is listed once, and each of its files gets a local one of the same name and size. Label
files are fetched at once; images, records and models when something reads them, and then stay. What
is there from earlier is used again if it has not changed since. A file whose content is not there
cannot be opened by its name: nobody is to take its zeros for an image.
"""

import os
import re
import shutil
import stat
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from keras_retinanet.errors import BucketError
from keras_retinanet.system.atomic_files import UNFINISHED_PREFIX, whole_file
from keras_retinanet.system.buckets import remote_files
from keras_retinanet.system.buckets.bucket_address import (
    FOLDER_VARIABLE,
    INPUTS,
    address_of,
    is_address,
    parent_of,
    path_of,
    top_folder,
)
from keras_retinanet.system.buckets.remote_files import RemoteFile
from keras_retinanet.system.locks import file_lock

# How many gigabytes of what was read may be kept.
ROOM_VARIABLE = "KERAS_RETINANET_BUCKETS_GB"
# And so much of the disk is left free.
MIN_FREE_BYTES = 2 * 2**30

# Large, or many, and not all needed: all but these is fetched with the listing.
_LATER = re.compile(
    r"\.(jpe?g|png|bmp|gif|webp|jxl|tiff?|avif|hei[cf]|mpo|dng|pfm"
    r"|mp4|m4v|mov|avi|mkv|webm|mpe?g|mts|m2ts|wmv|flv|3gp|ogv"
    r"|keras|h5|hdf5|np[yz]|pb|tflite|onnx|bin|pth?|pkl|safetensors|ckpt|index|data-\d+-of-\d+"
    r"|zip|tar|t?gz|parquet|arrow)$|tfrecord|\.records?(\b|-)|tfevents",
    re.IGNORECASE,
)
_MAGIC = re.compile(r"[*?\[]")
_NOT_HERE, _HERE = 0o200, 0o644

_lock, _room_lock = threading.RLock(), threading.Lock()
# The addresses that this process has listed: folders, with all that is below, and files.
_listed: set[str] = set()
# Those that it writes, and where their files are before they are there.
_written: dict[str, Path] = {}
_num_kept: dict[Path, int] = {}


def staged(place: str | os.PathLike) -> Path:
    """Return the local path of what a name means; of an address, with what lies there.

    Of a pattern, the folder before it is staged. Where nothing is, the files beside it are: some of
    these may begin with the name.

    Raises:
        BucketError: the bucket cannot be read.
    """
    address = address_of(place)
    if address is None:
        return Path(place)
    path = path_of(address) if is_address(place) else Path(place)
    with _lock:
        for folder, local in _written.items():
            if address == folder or address.startswith(f"{folder}/"):
                return local / address[len(folder) :].lstrip("/")
        if path != path_of(address):  # on its way to a bucket: it shows what lies there
            return path
        _stage(_before_pattern(address))
    return path


def show_instead(address: str, folder: Path) -> None:
    """Have `staged` return a folder of this process for what it writes to an address."""
    with _lock:
        _written[address] = folder


def forget() -> None:
    """Forget what was listed, and what is written: it is looked for again when it is asked for."""
    with _lock:
        _listed.clear()
        _written.clear()


def fetched(place: str | os.PathLike) -> Path:
    """Return the local path of a file or folder, and see that its content is there.

    Of a name that nothing has, those files are fetched that it is the beginning of.

    Raises:
        BucketError: it cannot be read, or there is no room for it.
    """
    path = staged(place)
    if address_of(path) is None:
        return path
    if path.is_dir():
        files = [Path(parent, name) for parent, _, names in os.walk(path) for name in names]
    else:
        files = [path] if path.exists() else sorted(path.parent.glob(f"{path.name}.*"))
    remote_files.in_parallel(_fetch, [file for file in files if is_elsewhere(file)])
    return path


def is_elsewhere(path: str | os.PathLike) -> bool:
    """Return whether a path is that of a file whose content is still in a bucket alone."""
    if not os.fspath(path).startswith(os.fspath(top_folder())):
        return False
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and not found.st_mode & stat.S_IRUSR


def contents(path: str | os.PathLike, start: int = 0, length: int | None = None) -> bytes:
    """Return the bytes of a file that `is_elsewhere`, or a range of them.

    A whole file is kept, as long as there is room for it.

    Raises:
        BucketError: it cannot be read.
    """
    path, address = Path(path), str(address_of(path))
    if length is not None:
        return remote_files.read(address, start, length)
    num_bytes = path.stat().st_size
    if _has_room(num_bytes):
        _download(path, address)
        return path.read_bytes()
    # By its range: to be told of all of it, some file systems ask for its size again.
    content = remote_files.read(address, 0, num_bytes + 1)
    _refuse_changed(path, address, len(content))
    return content


def put_placeholders(
    folder: Path, files: Mapping[str, RemoteFile], *, names: Iterable[str] | None = None
) -> None:
    """Give a folder a file for each of `files`; those that are there, unchanged, stay as they are.

    Args:
        names: of `files`, those that are wanted; all by default.
    """
    for name in files if names is None else names:
        path, remote = folder / name if name else folder, files[name]
        try:
            if not _is_same(path, remote):
                path.parent.mkdir(parents=True, exist_ok=True)
                _put_placeholder(path, remote)
        except OSError as error:
            raise BucketError(
                f"{address_of(path)} cannot have a local file ({error.strerror}: {path}): name "
                f"another folder for these, {FOLDER_VARIABLE}"
            ) from error


def fetch_small(folder: Path, names: Iterable[str]) -> None:
    """Fetch those files of a folder that are needed whatever is done with it."""
    paths = [folder / name if name else folder for name in names]
    wanted = [path for path in paths if not _LATER.search(path.name) and is_elsewhere(path)]
    remote_files.in_parallel(_fetch, wanted)


def _before_pattern(address: str) -> str:
    scheme, _, rest = address.partition("://")
    parts = rest.split("/")
    first = next((i for i, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    return f"{scheme}://{'/'.join(parts[: max(1, first)])}"


def _stage(address: str) -> None:
    if _is_listed(address):
        return
    found, path = remote_files.find(address), path_of(address)
    with _one_at_a_time():
        _remove_others(path, found)
        put_placeholders(path, found)
    fetch_small(path, found)
    _listed.add(address)
    above = parent_of(address)
    if not found and above is not None and not _is_listed(above):
        beside = remote_files.files_in(above)
        with _one_at_a_time():
            put_placeholders(path_of(above), beside)


def _is_listed(address: str) -> bool:
    each: str | None = address
    while each is not None:
        if each in _listed:
            return True
        each = parent_of(each)
    return False


def _one_at_a_time() -> AbstractContextManager[int]:
    """Hold the lock of all that is read from buckets: other processes may list the same."""
    folder = top_folder() / INPUTS
    folder.mkdir(parents=True, exist_ok=True)
    return file_lock(folder / ".lock")


def _remove_others(path: Path, found: Mapping[str, RemoteFile]) -> None:
    """Remove what is there of an address and no longer in the bucket."""
    if "" in found and path.is_dir():
        shutil.rmtree(path)
    elif "" not in found and path.is_file():
        path.unlink()
    for parent, _, names in os.walk(path, topdown=False):
        for name in names:
            file = Path(parent, name)
            is_another = file.relative_to(path).as_posix() not in found
            if is_another and not name.startswith(UNFINISHED_PREFIX):  # another process' download
                file.unlink(missing_ok=True)
        if not os.listdir(parent):
            os.rmdir(parent)


def _is_same(path: Path, remote: RemoteFile) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    return (there.st_size, int(there.st_mtime)) == (remote.num_bytes, remote.stamp)


def _put_placeholder(path: Path, remote: RemoteFile) -> None:
    with whole_file(path) as scratch:
        with open(scratch, "wb") as file:
            file.truncate(remote.num_bytes)
        os.utime(scratch, (remote.stamp, remote.stamp))
        os.chmod(scratch, _NOT_HERE if remote.num_bytes else _HERE)


def _fetch(path: Path) -> None:
    """Put a file's content in the place of its placeholder."""
    address, num_bytes = str(address_of(path)), path.stat().st_size
    if not _has_room(num_bytes):
        raise BucketError(
            f"{address}: there is no room for its {num_bytes / 1e9:.1f} GB below {top_folder()}: "
            f"remove what is not needed there, or name another folder, {FOLDER_VARIABLE}"
        )
    _download(path, address)


def _download(path: Path, address: str) -> None:
    try:
        with whole_file(path) as scratch:
            remote_files.download(address, scratch)
            _refuse_changed(path, address, scratch.stat().st_size)
            _take_over(path, scratch)
    except OSError as error:
        raise BucketError(f"{address} cannot be kept in {path}: {error.strerror}") from error


def _take_over(placeholder: Path, scratch: Path) -> None:
    """Give a new file the time and the permissions by which it is known to be whole."""
    time = placeholder.stat().st_mtime_ns
    os.utime(scratch, ns=(time, time))
    os.chmod(scratch, _HERE)


def _refuse_changed(path: Path, address: str, num_bytes: int) -> None:
    if path.stat().st_size != num_bytes:
        raise BucketError(f"{address} was changed while it was being read: start again")


def _has_room(num_bytes: int) -> bool:
    """Return whether a file of so many bytes may be kept, and count it."""
    top = top_folder()
    if shutil.disk_usage(top).free - num_bytes < MIN_FREE_BYTES:
        return False
    limit = os.environ.get(ROOM_VARIABLE)
    if limit is None:
        return True
    with _room_lock:
        if top not in _num_kept:
            _num_kept[top] = _bytes_below(top / INPUTS)
        is_enough = _num_kept[top] + num_bytes <= _as_bytes(limit)
        _num_kept[top] += num_bytes * is_enough
        return is_enough


def _as_bytes(limit: str) -> float:
    try:
        return float(limit) * 1e9
    except ValueError:
        raise BucketError(f"{ROOM_VARIABLE} is a number of gigabytes, not {limit!r}") from None


def _bytes_below(folder: Path) -> int:
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(path.stat().st_size for path in paths if not is_elsewhere(path))
