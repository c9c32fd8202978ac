"""Folders of data sets in KITTI's format."""

from pathlib import Path

from keras_retinanet.data.layouts.places import Settings


def kitti_layout(folder: Path) -> Settings | None:
    """image_2 and label_2, in the folder or in training/; lists in ImageSets/."""
    for name in ("training", "."):
        if (folder / name / "image_2").is_dir() and (folder / name / "label_2").is_dir():
            lists = {
                split: {"folder": name, "image_list": f"ImageSets/{split}.txt"}
                for split in ("train", "val")
                if (folder / "ImageSets" / f"{split}.txt").is_file()
            }
            return {"format": "kitti", "root": ".", "splits": lists or {"train": {"folder": name}}}
    return None
