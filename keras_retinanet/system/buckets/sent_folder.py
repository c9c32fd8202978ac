"""A folder that is written for a bucket: what is new in it is sent, by this process alone."""

import contextlib
import fnmatch
import json
import os
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from keras_retinanet.errors import BucketError, ConfigError
from keras_retinanet.system.atomic_files import UNFINISHED_PREFIX
from keras_retinanet.system.buckets import incoming, remote_files

# Says, in a bucket, which process writes there.
CLAIM = ".written-by.json"
_LOCK_SUFFIX = ".lock"
_CLAIM_BYTES = 4096


class SentFolder:
    """A folder of a bucket that this process writes.

    Attributes:
        folder: where its files are before they are sent.
        last: patterns of the files that are sent last, in this order.
    """

    def __init__(self, address: str, folder: Path, last: Sequence[str]) -> None:
        self.address, self.folder, self.last = address, folder, last
        self._token: str | None = None
        found = remote_files.find(address)
        found.pop(CLAIM, None)
        incoming.put_placeholders(folder, found)
        incoming.fetch_small(folder, found)
        self._sent = self._files()

    def claim(self) -> None:
        """Say in the bucket that this process writes there.

        Raises:
            ConfigError: another process of this machine does.
        """
        other = self._claim()
        me = psutil.Process()
        if other is not None and _is_alive(other, me):
            raise ConfigError(
                f"{self.address} is being written by process {other['process']} on "
                f"{other['host']}: wait for it, stop it, or name another folder"
            )
        self._token = secrets.token_hex(8)
        content = {
            "token": self._token,
            "host": socket.gethostname(),
            "process": me.pid,
            "since": me.create_time(),
        }
        remote_files.write(f"{self.address}/{CLAIM}", json.dumps(content).encode())

    def release(self) -> None:
        """Take the claim back, if it is still this process'."""
        if self._token is not None and self._is_mine():
            remote_files.remove(f"{self.address}/{CLAIM}")
        self._token = None

    def send(self) -> None:
        """Make the bucket's folder like the local one.

        Raises:
            BucketError: it cannot be written.
            ConfigError: another process has begun to write there.
        """
        if self._token is not None and not self._is_mine():
            raise ConfigError(
                f"{self.address} is being written by another process since: this one stops"
            )
        files = self._files()
        changed = [
            name
            for name, state in files.items()
            if state != self._sent.get(name) and not incoming.is_elsewhere(self.folder / name)
        ]
        marks = [[n for n in changed if fnmatch.fnmatch(n, pattern)] for pattern in self.last]
        marked = {name for names in marks for name in names}
        for names in ([name for name in changed if name not in marked], *marks):
            remote_files.in_parallel(self._send_file, names)
            self._sent.update({name: files[name] for name in names})
        gone = [name for name in self._sent if name not in files]
        remote_files.in_parallel(lambda name: remote_files.remove(f"{self.address}/{name}"), gone)
        for name in gone:
            del self._sent[name]

    def _send_file(self, name: str) -> None:
        try:
            remote_files.upload(self.folder / name, f"{self.address}/{name}")
        except BucketError as error:
            # A file that was replaced, or removed, meanwhile: the next time tells.
            if isinstance(error.__cause__, FileNotFoundError) and not (self.folder / name).exists():
                return
            raise

    def _files(self) -> dict[str, tuple[int, int]]:
        """Return what tells whether a file is another one, by names."""
        files = {}
        for parent, _, names in os.walk(self.folder):
            for name in names:
                if name.startswith(UNFINISHED_PREFIX) or name.endswith(_LOCK_SUFFIX):
                    continue
                path = Path(parent, name)
                with contextlib.suppress(FileNotFoundError):  # replaced, or removed, just now
                    state = path.stat()
                    name = path.relative_to(self.folder).as_posix()
                    files[name] = (state.st_size, state.st_mtime_ns)
        return files

    def _claim(self) -> dict[str, Any] | None:
        address = f"{self.address}/{CLAIM}"
        if not remote_files.is_file(address):
            return None
        try:
            return dict(json.loads(remote_files.read(address, 0, _CLAIM_BYTES)))
        except ValueError:
            return None

    def _is_mine(self) -> bool:
        claim = self._claim()
        return claim is None or claim.get("token") == self._token


def _is_alive(claim: dict[str, Any], me: psutil.Process) -> bool:
    """Return whether another process of this machine has a claim, and still runs.

    Of another machine's nothing tells: it notices itself that there is a newer claim.
    """
    if claim.get("host") != socket.gethostname() or claim.get("process") == me.pid:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(claim["process"]).create_time() == claim.get("since")
    return False
