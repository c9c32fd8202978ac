"""Whether the files of a conversion are those that its manifest tells of."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from keras_retinanet.data.convert.output import MANIFEST, read_manifest
from keras_retinanet.data.dataset import Finding
from keras_retinanet.data.faults import STOPS_TRAINING
from keras_retinanet.data.formats.records.shards import SUFFIXES
from keras_retinanet.system.digests import sha256

# (files done, files in all)
Progress = Callable[[int, int], None]
# (path of a file, what the manifest tells of it) -> what is wrong with it
FaultOf = Callable[[Path, Mapping[str, Any]], str | None]


def files_of_conversion(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return what the manifest of a conversion to TFRecords tells of its files, by their places;
    nothing for a folder without a manifest of files, or with one that cannot be read."""
    try:
        return (read_manifest(folder) or {}).get("files", {})
    except OSError:
        return {}


def check_conversion(
    folder: Path, progress: Progress, fault_of: FaultOf | None = None
) -> list[Finding]:
    """Return what is wrong with the files of a conversion to TFRecords; nothing for a folder
    without a manifest of files.

    Args:
        fault_of: takes the place of reading every file to its end.
    """
    try:
        manifest = read_manifest(folder)
    except OSError as error:
        where = str(folder / MANIFEST)
        return [_stopping("manifest that cannot be read", f"{where}: {error.strerror}")]
    if manifest is None or "files" not in manifest:
        return []
    files: Mapping[str, Mapping[str, Any]] = manifest["files"]
    of_file = fault_of or fault_of_file
    findings: list[Finding] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        faults = pool.map(lambda place: of_file(folder / place, files[place]), files)
        for done, (place, fault) in enumerate(zip(files, faults, strict=True), start=1):
            if fault is not None:
                findings.append(_stopping(fault, str(folder / place)))
            progress(done, len(files))
    for path in sorted(folder.iterdir()):
        if path.name.endswith(SUFFIXES) and path.name not in files:
            findings.append(_stopping("record file that the conversion has not written", str(path)))
    return findings


def fault_of_file(path: Path, told: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a file of a conversion, by what the manifest tells of it."""
    try:
        if not path.is_file():
            return "file of the conversion that is missing"
        if path.stat().st_size != told["bytes"]:
            return f"file of another size than its conversion wrote ({told['bytes']} bytes)"
        if sha256(path) != told["sha256"]:
            return "file that was changed since its conversion (SHA-256)"
    except OSError as error:
        return f"file of the conversion that cannot be read: {error.strerror}"
    return None


def _stopping(problem: str, where: str) -> Finding:
    return Finding(problem, where, STOPS_TRAINING)
