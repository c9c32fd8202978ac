"""Which files of a folder are images."""

from pathlib import Path

# What TensorFlow decodes, and training, evaluation, prediction and serving read.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".jxl")
# What Pillow may decode besides: prediction reads it, everything else says how to convert it.
OTHER_IMAGE_SUFFIXES = (".tif", ".tiff", ".avif", ".heic", ".heif")


def list_images(path: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the image files of a folder and its subfolders in order, or the one file itself.

    Hidden files and folders, such as .ipynb_checkpoints, are left out.
    """
    return [path] if path.is_file() else [p for p in list_files(path) if _ends(p, suffixes)]


def list_files(folder: Path) -> list[Path]:
    """Return all files of a folder and its subfolders in order, hidden ones left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )


def _ends(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes
