"""SHA-256 of files and folders."""

import hashlib
from pathlib import Path

from keras_retinanet.system.buckets.incoming import fetched


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's names and files, as hexadecimal digits."""
    digest, path = hashlib.sha256(), fetched(path)
    if path.is_dir():
        for inside in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{inside.relative_to(path).as_posix()}\0{sha256(inside)}\n".encode())
        return digest.hexdigest()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
