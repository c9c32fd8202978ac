"""Which files of a folder are images."""

from pathlib import Path

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def list_images(path: Path) -> list[Path]:
    """Return the image files of a folder and its subfolders in order, or the one file itself."""
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
