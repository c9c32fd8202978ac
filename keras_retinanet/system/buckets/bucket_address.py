"""Addresses such as s3://bucket/folder, and the local paths that stand for them.

`inputs` holds what was read from buckets and is kept; `outputs` holds, by process, what is on its
way to one. Below both lies SCHEME/BUCKET/NAME, so that a path tells its address, and the reverse.
"""

import os
import re
from pathlib import Path

from keras_retinanet.errors import BucketError

# Where the local paths lie; by default in the user's cache folder.
FOLDER_VARIABLE = "KERAS_RETINANET_BUCKETS"
INPUTS, OUTPUTS = "inputs", "outputs"
# Two letters at least, which no drive of Windows has; one slash is what pathlib leaves of two.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL)
# Not file systems: what is read from these is told apart elsewhere.
_OTHER_SCHEMES = ("http", "https", "rtsp", "rtmp", "udp", "srt")
# Of these an address has no bucket, but begins with the root.
_ROOTED = ("file", "local")


def top_folder() -> Path:
    """Return the folder that the local paths of all addresses are below."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(os.path.abspath(given))
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.path.abspath(base)) / "keras_retinanet" / "buckets"


def is_address(place: str | os.PathLike) -> bool:
    """Return whether a name is that of something in a bucket."""
    found = _ADDRESS.fullmatch(os.fspath(place))
    return found is not None and found[1] not in _OTHER_SCHEMES


def address_of(place: str | os.PathLike) -> str | None:
    """Return the address that a name, or the local path of one, stands for; None of other paths.

    Raises:
        BucketError: it is an address of nothing.
    """
    text = os.fspath(place)
    if is_address(text):
        scheme, rest = _parts(text)
        rest = os.path.normpath(rest.strip("/")) if rest.strip("/") else ""
        if not rest or rest.split("/")[0] in (".", ".."):
            raise BucketError(f"{text} names no bucket: expected SCHEME://BUCKET/NAME")
        return _joined(scheme, rest)
    top = os.fspath(top_folder())
    if not text.startswith(top):
        return None
    found = re.fullmatch(
        rf"{re.escape(top)}/(?:{INPUTS}|{OUTPUTS}/[^/]+)/([a-z][a-z0-9+.-]+)/(.+)",
        os.path.normpath(text),
        re.DOTALL,
    )
    return _joined(found[1], found[2]) if found else None


def path_of(address: str, tree: str = INPUTS) -> Path:
    """Return the local path of an address, as `address_of` returns it."""
    scheme, rest = _parts(address)
    return top_folder() / tree / scheme / rest.strip("/")


def parent_of(address: str) -> str | None:
    """Return the address of the folder around; None of a bucket."""
    scheme, rest = _parts(address)
    above = rest.strip("/").rpartition("/")[0]
    return _joined(scheme, above) if above else None


def place_in(folder: Path, text: str) -> Path:
    """Return what a text names that is an address, or relative to a folder."""
    if not is_address(text):
        return folder / text
    address = address_of(text)
    return folder / text if address is None else path_of(address)


def told(text: str) -> str:
    """Return a text for people: with addresses in place of the local paths that stand for them."""
    top = os.fspath(top_folder())
    if top not in text:
        return text
    pattern = rf"{re.escape(top)}/(?:{INPUTS}|{OUTPUTS}/[^/\s]+)/([a-z][a-z0-9+.-]+)/"
    return re.sub(pattern, lambda found: _joined(found[1], ""), text)


def _parts(address: str) -> tuple[str, str]:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(f"{address} is no address")
    return found[1], found[2]


def _joined(scheme: str, rest: str) -> str:
    return f"{scheme}://{'/' if scheme in _ROOTED else ''}{rest}"
