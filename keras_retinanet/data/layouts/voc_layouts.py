"""Folders of data sets in Pascal VOC's format: VOC's own, or XML beside the images."""

from pathlib import Path

from keras_retinanet.data.layouts.places import (
    Settings,
    files,
    holds_images,
    split_folders,
    subfolder,
    subfolders,
    told_split,
)
from keras_retinanet.errors import ConfigError

_ANNOTATIONS = ("Annotations", "annots", "annotation", "xmls", "xml", "labels")
_IMAGES = ("JPEGImages", "images", "imgs", "image", "img")
# Sets of VOC itself that are used as splits.
_SETS = ("train", "val", "trainval", "test")
_NUM_LOOKED_AT = 20
_HEAD_BYTES = 65536


def voc_layout(folder: Path) -> Settings | None:
    """Image sets with Annotations; or folders of XML files and images, for each split or for all.

    Raises:
        ConfigError: two image sets are the same split.
    """
    annotations = subfolder(folder, *_ANNOTATIONS)
    splits = _splits_by_sets(folder) if annotations else {}
    if annotations and splits:
        images = subfolder(folder, *_IMAGES)
        places: Settings = {}
        if annotations.name != "Annotations":
            places["annotations"] = annotations.name
        if images and images.name != "JPEGImages":
            places["images"] = images.name
        return {"format": "voc", "root": ".", **places, "splits": splits}
    found = _splits_by_folders(folder) or _one_split(folder)
    return {"format": "voc", "root": ".", "splits": found} if found else None


def _splits_by_sets(folder: Path) -> Settings:
    """Return the splits that image sets tell; sets of classes count where there are no others."""
    sets = _image_sets(folder)
    plain = {split: name for split in _SETS for name in sets if name == split}
    for name in sets:
        split = _WHOLE_NAMES.get(name.lower())
        if split and split not in plain:
            plain[split] = name
    if plain:
        return plain
    by_class: dict[str, list[str]] = {}
    for name in sets:
        split = told_split(name.rpartition("_")[2])
        if split and "_" in name:
            by_class.setdefault(split, []).append(name)
    if by_class:
        return {split: {"image_set": names} for split, names in by_class.items()}
    return {"train": sets[0]} if len(sets) == 1 else {}


_WHOLE_NAMES = {
    "train": "train",
    "training": "train",
    "default": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "trainval": "trainval",
    "test": "test",
    "testing": "test",
}


def _image_sets(folder: Path) -> list[str]:
    top = subfolder(folder, "ImageSets")
    main = subfolder(top, "Main") if top else None
    sets = [path.stem for place in (main, top) if place for path in files(place, ".txt")]
    return list(dict.fromkeys(sets))


def _splits_by_folders(folder: Path) -> Settings:
    """Return splits with folders of their own: train, or annotations/train beside images/train."""
    found: Settings = {}
    for split, sub in split_folders(folder).items():
        places = _places(sub)
        if places:
            found[split] = {key: _relative(folder, path) for key, path in places.items()}
    annotations, images = subfolder(folder, *_ANNOTATIONS), subfolder(folder, *_IMAGES)
    if found or annotations is None or images is None:
        return found
    of_images = split_folders(images)
    return {
        split: {
            "images": _relative(folder, of_images.get(split, images)),
            "annotations": _relative(folder, sub),
        }
        for split, sub in split_folders(annotations).items()
        if _holds_voc(sub)
    }


def _one_split(folder: Path) -> Settings:
    places = _places(folder)
    if places is None:
        images = subfolder(folder, *_IMAGES)
        places = _places(images) if images else None
    if places is None:
        return {}
    return {"train": {key: _relative(folder, path) for key, path in places.items()}}


def _places(folder: Path) -> dict[str, Path] | None:
    """Return the folders of the images and XML files in a folder; None if there are no such."""
    annotations, images = subfolder(folder, *_ANNOTATIONS), subfolder(folder, *_IMAGES)
    if annotations:
        # As in the Oxford pets' annotations/xmls.
        inner = subfolder(annotations, "xmls", "xml")
        for place in (annotations, inner):
            if place and _holds_voc(place):
                return {"images": images or folder, "annotations": place}
    if _holds_voc(folder) and (images or holds_images(folder)):
        return {
            "images": folder if holds_images(folder) else images or folder,
            "annotations": folder,
        }
    return None


def _holds_voc(folder: Path) -> bool:
    """Return whether a folder, or one in it, has XML files of annotations as VOC has them."""
    for place in [folder, *subfolders(folder)]:
        if any(looks_like_voc(path) for path in files(place, ".xml")[:_NUM_LOOKED_AT]):
            return True
    return False


def looks_like_voc(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).replace(b"\0", b"").lower()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    # CVAT writes <annotations> with an <image> for each image.
    is_of_cvat = b"<annotations" in head and b"<image " in head
    return not is_of_cvat and any(word in head for word in (b"bndbox", b"filename>", b"<object"))


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
