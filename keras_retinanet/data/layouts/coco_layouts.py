"""Folders and files of data sets in COCO's format."""

from pathlib import Path

from keras_retinanet.data.layouts.places import (
    EXAMPLE,
    Settings,
    first_folder,
    holds_images,
    one_each,
    split_of,
)
from keras_retinanet.errors import ConfigError


def coco_layout(folder: Path) -> Settings | None:
    """annotations/instances_<set>.json; or Roboflow's <split>/_annotations.coco.json."""
    files: dict[str, list[dict[str, str]]] = {}
    for path in sorted((folder / "annotations").glob("instances_*.json")):
        name = path.stem.removeprefix("instances_")
        images = first_folder(folder, name, f"images/{name}", "images")
        annotations = f"annotations/{path.name}"
        files.setdefault(split_of(name), []).append(
            {"images": images or name, "annotations": annotations}
        )
    for path in sorted(folder.glob("*/_annotations.coco.json")):
        name = path.parent.name
        files.setdefault(split_of(name), []).append(
            {"images": name, "annotations": f"{name}/{path.name}"}
        )
    return one_each(folder, "coco", files)


def json_settings(path: Path) -> Settings:
    """Return the settings for one COCO file, whose images are looked for around it."""
    name = path.stem.removeprefix("instances_")
    images = first_folder(
        path.parent,
        name,
        f"../{name}",
        f"../images/{name}",
        "images",
        "../images",
        with_images=True,
    )
    if images is None and holds_images(path.parent):
        images = "."
    if images is None:
        raise ConfigError(f"{path}: no folder of images is beside it; {EXAMPLE}")
    split = split_of(path.parent.name if name == "_annotations.coco" else name)
    return {"format": "coco", "splits": {split: {"images": images, "annotations": path.name}}}
