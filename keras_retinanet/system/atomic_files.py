"""Text files that are always either the old one or the whole new one."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all, whenever the process ends."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
