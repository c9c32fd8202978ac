"""Which format the data set in a folder has: its settings, as a data YAML would hold them."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_retinanet.config.yaml_files import read_yaml
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES
from keras_retinanet.errors import ConfigError

Settings = dict[str, Any]

# In a folder: ours if it has `format`, else YOLO's.
DATA_YAML = "data.yaml"
YAML_SUFFIXES = (".yaml", ".yml")
_EXAMPLE = (
    "write a data.yaml, for example: "
    "{format: coco, splits: {train: {images: train2017, annotations: train.json}}}"
)
# A word in the name of a file or folder tells its split.
_SPLIT_WORDS = {
    "train": re.compile(r"(?<![a-z])train"),
    "val": re.compile(r"(?<![a-z])val(id(ation)?)?(?![a-z])"),
    "test": re.compile(r"(?<![a-z])test"),
}
# How to get a split "val" out of data that has none.
HOW_TO_SPLIT = {
    "coco": "take some of the images, with their annotations, to a JSON file of their own",
    "voc": "list the names of some of the images in ImageSets/Main/val.txt, the rest in train.txt",
    "csv": "move the rows of some of the images to val.csv",
    "kitti": "list the names of some of the images in ImageSets/val.txt, the rest in train.txt",
    "open_images": "list the ids of some of the images in a file, as image_list of a split val",
    "yolo": "move some of the images, with their labels, to a folder that `val` names in data.yaml",
    "tfrecord": "name some of the files val instead of train",
}


def detect_format(path: Path) -> tuple[Settings, Path]:
    """Return the settings of a data set, and the folder that their paths are relative to.

    Args:
        path: a data YAML, or one of YOLO; a folder; a CSV, or a COCO JSON file.

    Raises:
        ConfigError: nothing known is there, or more than one thing.
    """
    if path.is_dir():
        return _folder_settings(path)
    suffix = path.suffix.lower()
    if suffix == ".csv" and path.is_file():
        splits = {_split_of(path.stem): path.name}
        return {"format": "csv", "splits": splits, **_classes(path.parent)}, path.parent
    if suffix == ".json" and path.is_file():
        return _json_settings(path), path.parent
    values = read_yaml(path)
    return (_yolo_settings(path.name, values) or values), path.parent


def _folder_settings(folder: Path) -> tuple[Settings, Path]:
    own = _own_yaml(folder)
    if own is not None:
        return own, folder
    found = {name: settings for name, look in DETECTORS.items() if (settings := look(folder))}
    if len(found) == 1:
        return next(iter(found.values())), folder
    if found:
        raise ConfigError(
            f"{folder} looks like {' and '.join(found)}: name one of the files, or {_EXAMPLE}"
        )
    inside = [
        sub
        for sub in sorted(p for p in folder.iterdir() if p.is_dir())
        if _own_yaml(sub) is not None or any(look(sub) for look in DETECTORS.values())
    ]
    if inside:
        raise ConfigError(f"{folder} is no data set, but {inside[0]} looks like one")
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir()) or ["nothing"]
    held = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise ConfigError(f"{folder} holds {held}: no data set of a known layout; {_EXAMPLE}")


def _own_yaml(folder: Path) -> Settings | None:
    path = folder / DATA_YAML
    values = read_yaml(path) if path.is_file() else {}
    return values if "format" in values else None


def _coco(folder: Path) -> Settings | None:
    """annotations/instances_<set>.json; or Roboflow's <split>/_annotations.coco.json."""
    files: dict[str, list[dict[str, str]]] = {}
    for path in sorted((folder / "annotations").glob("instances_*.json")):
        name = path.stem.removeprefix("instances_")
        images = _first_folder(folder, name, f"images/{name}", "images")
        annotations = f"annotations/{path.name}"
        files.setdefault(_split_of(name), []).append(
            {"images": images or name, "annotations": annotations}
        )
    for path in sorted(folder.glob("*/_annotations.coco.json")):
        name = path.parent.name
        files.setdefault(_split_of(name), []).append(
            {"images": name, "annotations": f"{name}/{path.name}"}
        )
    return _one_each(folder, "coco", files)


def _voc(folder: Path) -> Settings | None:
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


def _kitti(folder: Path) -> Settings | None:
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


def _open_images(folder: Path) -> Settings | None:
    """*-annotations-bbox.csv beside images/, images/<split>/ or <split>/."""
    files: dict[str, list[dict[str, str]]] = {}
    for path in sorted(folder.glob("*-annotations-bbox.csv")):
        name = path.name.removesuffix("-annotations-bbox.csv").rpartition("-")[2]
        images = _first_folder(folder, name, f"images/{name}", "images")
        files.setdefault(_split_of(name), []).append(
            {"images": images or "images", "annotations": path.name}
        )
    settings = _one_each(folder, "open_images", files)
    classes = sorted(folder.glob("*class-descriptions*.csv"))
    if settings and len(classes) == 1:
        settings["classes"] = classes[0].name
    return settings


def _csv(folder: Path) -> Settings | None:
    """train.csv or annotations.csv, with val.csv, test.csv and classes.csv."""
    first = next((n for n in ("train.csv", "annotations.csv") if (folder / n).is_file()), None)
    if first is None:
        return None
    others = {s: f"{s}.csv" for s in ("val", "test") if (folder / f"{s}.csv").is_file()}
    return {"format": "csv", "splits": {"train": first, **others}, **_classes(folder)}


def _yolo(folder: Path) -> Settings | None:
    """A YAML file with names, and train or val."""
    found = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in YAML_SUFFIXES):
        settings = _yolo_settings(path.name, read_yaml(path))
        if settings:
            found[path.name] = settings
    if len(found) > 1 and "data.yaml" not in found:
        raise ConfigError(f"{folder} holds {', '.join(found)}: name the one to use")
    return found.get("data.yaml") or next(iter(found.values()), None)


def _yolo_settings(name: str, values: Settings) -> Settings | None:
    splits = {key: key for key in ("train", "val", "test") if values.get(key)}
    if "format" in values or "names" not in values or not splits:
        return None
    return {"format": "yolo", "data_yaml": name, "splits": splits}


def _tfrecord(folder: Path) -> Settings | None:
    """Files train*.tfrecord*, val*.tfrecord*, test*.tfrecord*; a set of shards to a split."""
    sets: dict[str, dict[str, None]] = {}
    for path in sorted(folder.glob("*.tfrecord*")):
        # What the names of a set's shards have in common stands for all of it.
        prefix = re.sub(r"(\.tfrecord)?-\d+-of-\d+(\.tfrecord)?$", "", path.name)
        sets.setdefault(_split_of(prefix), {})[prefix] = None
    settings = _one_each(folder, "tfrecord", {split: list(names) for split, names in sets.items()})
    maps = sorted(folder.glob("*.pbtxt"))
    if settings and len(maps) == 1:
        settings["label_map"] = maps[0].name
    return settings


DETECTORS: dict[str, Callable[[Path], Settings | None]] = {
    "coco": _coco,
    "voc": _voc,
    "csv": _csv,
    "kitti": _kitti,
    "open_images": _open_images,
    "yolo": _yolo,
    "tfrecord": _tfrecord,
}


def _json_settings(path: Path) -> Settings:
    """Return the settings for one COCO file, whose images are looked for around it."""
    name = path.stem.removeprefix("instances_")
    images = _first_folder(
        path.parent,
        name,
        f"../{name}",
        f"../images/{name}",
        "images",
        "../images",
        with_images=True,
    )
    if images is None and _holds_images(path.parent):
        images = "."
    if images is None:
        raise ConfigError(f"{path}: no folder of images is beside it; {_EXAMPLE}")
    split = _split_of(path.parent.name if name == "_annotations.coco" else name)
    return {"format": "coco", "splits": {split: {"images": images, "annotations": path.name}}}


def _split_of(name: str) -> str:
    """Return the split that a name tells; "train" where it tells none."""
    return next((s for s, word in _SPLIT_WORDS.items() if word.search(name.lower())), "train")


def _one_each(folder: Path, kind: str, files: Mapping[str, Sequence[Any]]) -> Settings | None:
    """Return the settings, or stop where a split has more than one file."""
    for split, candidates in files.items():
        if len(candidates) > 1:
            raise ConfigError(f"{folder}: {split} may be any of {candidates}; {_EXAMPLE}")
    splits = {split: candidates[0] for split, candidates in files.items()}
    return {"format": kind, "splits": splits} if splits else None


def _classes(folder: Path) -> Settings:
    return {"classes": "classes.csv"} if (folder / "classes.csv").is_file() else {}


def _first_folder(folder: Path, *names: str, with_images: bool = False) -> str | None:
    for name in names:
        if (folder / name).is_dir() and (not with_images or _holds_images(folder / name)):
            return name
    return None


def _holds_images(folder: Path) -> bool:
    return any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.iterdir())
