"""manifest.json of an export, as its runtimes read it."""

import json
from pathlib import Path
from typing import Any

from keras_retinanet.errors import WeightsError

MANIFEST_FILE = "manifest.json"
LABELS_FILE = "labels.txt"  # beside it or in assets/, a class a line


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a version folder.

    Raises:
        WeightsError: there is none, it is damaged, or files are missing or of another size.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise WeightsError(f"{folder} has no {MANIFEST_FILE}: it is no export of this project")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        for name, file in manifest.get("files", {}).items():
            found = folder / name
            if not found.is_file() or found.stat().st_size != file["bytes"]:
                raise WeightsError(f"{found} is missing or not whole: export the model again")
    except (ValueError, KeyError, AttributeError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path} is damaged: {error!r}: export the model again") from error
    return manifest
