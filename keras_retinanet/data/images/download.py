"""Images and videos of the web: fetched into a file, within a time and a size."""

import http.client
import re
import time
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from keras_retinanet.errors import DataError

URL_SCHEMES = ("http", "https")
# A server may be silent for so long, and a file take so long in all.
SILENT_SECONDS, TOTAL_SECONDS = 10.0, 120.0
MAX_BYTES = 256 * 2**20
_CHUNK_BYTES = 2**16
# What a file's name may hold on any system.
_ODD = re.compile(r"[^\w.,=@+-]+")


def is_url(name: str) -> bool:
    """Return whether a name is the address of something on the web."""
    return name.partition("://")[0].lower() in URL_SCHEMES


def url_place(url: str) -> Path:
    """Return the path that a file of the web has among predictions: HOST/FOLDERS/NAME."""
    parts = urlsplit(url)
    names = [unquote(part) for part in PurePosixPath(parts.path).parts if part.strip("/.")]
    names = [
        _ODD.sub("_", part).strip(".") or "_" for part in (parts.netloc, *(names or ["index"]))
    ]
    return Path(*names)


def download(
    url: str,
    target: Path,
    *,
    silent_seconds: float = SILENT_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write what is at a URL into a file.

    Args:
        silent_seconds: how long the server may send nothing.
        total_seconds: how long it may take to send all.

    Raises:
        DataError: it cannot be had, or takes too long, or is too large; the message is the reason.
    """
    end = time.monotonic() + total_seconds
    try:
        with _opened(url, silent_seconds) as response, open(target, "wb") as file:
            declared = response.headers.get("Content-Length") or ""
            size = int(declared) if declared.isdecimal() else None
            if size is not None and size > max_bytes:
                raise DataError(f"it has {size:,} bytes, more than {max_bytes:,}")
            there = 0
            # read1 waits for some bytes; read would for all, however slowly they come.
            while content := response.read1(_CHUNK_BYTES):
                there += len(content)
                if there > max_bytes:
                    raise DataError(f"it has more than {max_bytes:,} bytes")
                if time.monotonic() > end:
                    raise DataError(f"it takes longer than {total_seconds:g} s")
                file.write(content)
    except urllib.error.HTTPError as error:
        raise DataError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "reason", None) or error
        raise DataError(f"it cannot be had: {reason or type(error).__name__}") from error
    if size is not None and there < size:
        raise DataError(f"the connection was cut after {there:,} of {size:,} bytes")


def _opened(url: str, seconds: float) -> Any:
    # Not urlopen, which also follows a server to ftp: and, given the chance, to file:.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    request = urllib.request.Request(url, headers={"User-Agent": "keras_retinanet"})
    return opener.open(request, timeout=seconds)
