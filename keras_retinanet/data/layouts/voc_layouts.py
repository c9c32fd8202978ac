"""Folders of data sets in Pascal VOC's format."""

from pathlib import Path

from keras_retinanet.data.layouts.places import Settings


def voc_layout(folder: Path) -> Settings | None:
    """Annotations and ImageSets/Main; per-class sets (cat_train.txt) are no splits."""
    if not (folder / "Annotations").is_dir():
        return None
    sets = [p.stem for p in sorted((folder / "ImageSets" / "Main").glob("*.txt"))]
    splits: dict[str, str] = {
        name: name for name in ("train", "val", "trainval", "test") if name in sets
    }
    if not splits and len(sets) == 1:
        splits = {"train": sets[0]}
    return {"format": "voc", "root": ".", "splits": splits} if splits else None
