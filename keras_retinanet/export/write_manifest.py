"""manifest.json: what an export is, what it was made from, and what was measured on it."""

import json
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from keras_retinanet.detection.manifest import MANIFEST_FILE
from keras_retinanet.system.buckets.bucket_address import told
from keras_retinanet.system.digests import sha256
from keras_retinanet.system.distribution import DISTRIBUTION

MANIFEST_VERSION = 1
_PACKAGES = (DISTRIBUTION, "tensorflow", "keras", "numpy")
_RUN_CONFIG = "config.yaml"


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write `content` with the folder's files, the time and the versions of packages.

    Of each file the manifest holds the bytes and the SHA-256.
    """
    files = {
        str(path.relative_to(folder).as_posix()): {
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_FILE
    }
    manifest = {
        "manifest_version": MANIFEST_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **content,
        "files": files,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")


def describe_source(model_file: Path) -> dict[str, Any]:
    """Return where a model came from: the file, its SHA-256, and its run's config if there is one.

    The config is that of the run directory which holds the file, or its folder of checkpoints.
    """
    configs = (folder / _RUN_CONFIG for folder in model_file.resolve().parents[:2])
    config = next((path for path in configs if path.is_file()), None)
    return {
        "model_file": told(str(model_file)),
        "sha256": sha256(model_file),
        "run": told(str(config.parent)) if config else None,
        "config": config.read_text(encoding="utf-8") if config else None,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
