"""The folder that a conversion writes: whose it is, and files that appear whole or not at all."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_retinanet.data.images.address import is_address, num_image_bytes, read_image_bytes
from keras_retinanet.errors import DataError
from keras_retinanet.system.atomic_files import remove_unfinished, whole_file
from keras_retinanet.system.buckets.incoming import fetched
from keras_retinanet.system.locks import file_lock

MANIFEST = "conversion.json"
_MADE_BY = "retinanet data convert"


class Output:
    """A folder that belongs to one conversion, which may have been interrupted before.

    Every file gets its name when it is complete, so that one that is there need not be written
    again. Places are relative to the folder, with slashes.

    Args:
        fingerprint: stands for the data and the options; a folder of another is refused.
        link: images become links to the originals.
        is_shared: other processes write into the folder at the same time.

    Raises:
        DataError: the folder holds something else; or, from all methods, a file of another content
            is in the way, or cannot be written.
    """

    def __init__(
        self, root: Path, fingerprint: str, *, link: bool = False, is_shared: bool = False
    ):
        self.root = root
        self.fingerprint = fingerprint
        self.link = link
        self.is_shared = is_shared
        try:
            with self.lock():
                self._claim()
        except OSError as error:
            raise _cannot_write(root, error) from error

    def write_text(self, place: str, text: str) -> bool:
        """Write a text file; return whether it was there."""
        content = text.encode("utf-8")
        target = self.path(place)
        try:
            if target.exists() or target.is_symlink():
                if not target.is_symlink() and target.read_bytes() == content:
                    return True
                raise _in_the_way(target)
            self._publish(target, lambda scratch: scratch.write_bytes(content))
        except OSError as error:
            raise _cannot_write(target, error) from error
        return False

    def put_image(self, place: str, source: str) -> bool:
        """Copy or link an image; one in a record is always copied. Return whether it was there."""
        target = self.path(place)
        linked = self.link and not is_address(source)
        try:
            if target.exists() or target.is_symlink():
                if _is_link(target, source) if linked else _is_copy(target, source):
                    return True
                raise _in_the_way(target)
            if linked:
                self._publish(target, lambda scratch: scratch.symlink_to(os.path.abspath(source)))
            elif is_address(source):
                self._publish(target, lambda scratch: scratch.write_bytes(read_image_bytes(source)))
            else:
                self._publish(target, lambda scratch: shutil.copyfile(fetched(source), scratch))
        except OSError as error:
            raise _cannot_write(target, error) from error
        return False

    def write_file(self, place: str, write: Callable[[Path], object]) -> None:
        """Let `write` make a large file, in place of one that is there."""
        target = self.path(place)
        try:
            self._publish(target, write, sync=True)
        except OSError as error:
            raise _cannot_write(target, error) from error

    def complete(
        self,
        report: Callable[[Path], object],
        report_name: str,
        files: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Write the report, and note that nothing is missing.

        Args:
            files: what the manifest says of the files.
        """
        try:
            self._publish(self.root / report_name, report)
            self._write_manifest(is_complete=True, files=files)
        except OSError as error:
            raise _cannot_write(self.root, error) from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder, which is made if need be, alone, if other processes write into it."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(self.root):
            self.root.mkdir(exist_ok=True)
        with file_lock(self.root) if self.is_shared else contextlib.nullcontext():
            yield

    def remove_unfinished(self) -> None:
        """Remove what killed processes have left; no other may be at work."""
        for parent, _, _ in os.walk(self.root):
            remove_unfinished(Path(parent))

    def _claim(self) -> None:
        """See that the folder is new, or the same conversion's."""
        if self.root.is_dir() and not any(self.root.iterdir()):
            self._write_manifest(is_complete=False)
            return
        content = read_manifest(self.root)
        if content is None:
            raise DataError(f"{self.root} exists and is not empty: name a new folder")
        if content.get("fingerprint") != self.fingerprint:
            raise DataError(
                f"{self.root} holds a conversion of other data, or with other options: name a new "
                "folder, or remove this one"
            )
        if not self.is_shared:
            self.remove_unfinished()

    def _write_manifest(
        self, is_complete: bool, files: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        content = {
            "made_by": _MADE_BY,
            "fingerprint": self.fingerprint,
            "is_complete": is_complete,
            **({} if files is None else {"files": files}),
        }
        text = json.dumps(content, indent=1)
        self._publish(self.root / MANIFEST, lambda scratch: scratch.write_text(text))

    def path(self, place: str) -> Path:
        """Return where a place is."""
        return self.root.joinpath(*place.split("/"))

    def _publish(
        self, target: Path, write: Callable[[Path], object], *, sync: bool = False
    ) -> None:
        """Let `write` make a file under another name, which then takes the place of `target`.

        `sync`: on disk before it gets its name, since no one looks into it again.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target, sync=sync) as scratch:
            write(scratch)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return what a conversion has noted in its folder; None where there is no such note.

    Raises:
        OSError: it cannot be read.
    """
    manifest = folder / MANIFEST
    try:
        content = json.loads(manifest.read_bytes()) if manifest.is_file() else None
    except ValueError:
        return None
    is_ours = isinstance(content, dict) and content.get("made_by") == _MADE_BY
    return content if is_ours else None


def _is_copy(target: Path, source: str) -> bool:
    if target.is_symlink() or not target.is_file():
        return False
    return target.stat().st_size == num_image_bytes(source)


def _is_link(target: Path, source: str) -> bool:
    return target.is_symlink() and os.readlink(target) == os.path.abspath(source)


def _in_the_way(path: Path) -> DataError:
    return DataError(
        f"{path} is not what this conversion writes there: remove it, or name a new folder"
    )


def _cannot_write(path: Path, error: OSError) -> DataError:
    source = f" (from {error.filename})" if error.filename not in (None, str(path)) else ""
    return DataError(f"cannot write {path}: {error.strerror or error}{source}")
