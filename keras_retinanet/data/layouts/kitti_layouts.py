"""Folders of data sets in KITTI's format."""

from pathlib import Path

from keras_retinanet.data.layouts.places import Settings, split_folders, subfolder


def kitti_layout(folder: Path) -> Settings | None:
    """image_2 and label_2: in training/, the folder or those of splits; lists in ImageSets/."""
    for name in ("training", "."):
        if _is_kitti(folder / name):
            lists = {
                split: {"folder": name, "image_list": f"ImageSets/{split}.txt"}
                for split in ("train", "val")
                if (folder / "ImageSets" / f"{split}.txt").is_file()
            }
            splits = {"val": sub} if (sub := _validation(folder)) and not lists else {}
            return {
                "format": "kitti",
                "root": ".",
                "splits": lists or {"train": {"folder": name}, **splits},
            }
    # CVAT's: default/, Train/, ...
    inside = split_folders(folder)
    default = subfolder(folder, "default")
    if not inside and default:
        inside = {"train": default}
    found = {split: {"folder": sub.name} for split, sub in inside.items() if _is_kitti(sub)}
    return {"format": "kitti", "root": ".", "splits": found} if found else None


def _is_kitti(folder: Path) -> bool:
    return (folder / "image_2").is_dir() and (folder / "label_2").is_dir()


def _validation(folder: Path) -> dict[str, str] | None:
    sub = split_folders(folder).get("val")
    return {"folder": sub.name} if sub and _is_kitti(sub) else None
