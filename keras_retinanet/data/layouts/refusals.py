"""What is said of a folder or file that is no data set: what it is, what is in it, and the mend."""

import json
from pathlib import Path
from typing import Any, NoReturn

from keras_retinanet.data.images.listing import ANY_IMAGE_SUFFIXES
from keras_retinanet.data.layouts.coco_layouts import is_coco
from keras_retinanet.data.layouts.found_files import (
    KINDS,
    FoundFiles,
    find_files,
    suggested_settings,
)
from keras_retinanet.data.layouts.places import EXAMPLE, as_yaml, split_of
from keras_retinanet.data.layouts.voc_layouts import looks_like_voc
from keras_retinanet.data.layouts.yolo_layouts import is_label_file, lists_images
from keras_retinanet.errors import ConfigError

_KNOWN = (
    "known are COCO, VOC, YOLO, KITTI, CSV, Open Images, TFRecord and files of labelling tools, "
    "laid out as docs/data.md shows"
)
_NEEDED = "give a data YAML, a folder, or an annotation file"
# What files with these suffixes are, and what to do with them.
_UNPACK = "unpack it and give the folder"
_MODEL = f"that is a model's place, not --data's: {_NEEDED}"
_IMAGES = "give the folder that holds the images and their annotations"
_BY_SUFFIX = {
    (".zip",): ("a zip archive", _UNPACK),
    (".tar", ".tgz", ".tbz2", ".txz"): ("a tar archive", _UNPACK),
    (".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"): ("a compressed file", _UNPACK),
    (".keras",): ("a Keras model", _MODEL),
    (".h5", ".hdf5"): ("an HDF5 file, as of Keras weights", _MODEL),
    (".pth", ".pt", ".ckpt", ".safetensors"): ("a file of model weights", _MODEL),
    (".onnx", ".tflite", ".pb"): ("an exported model", _MODEL),
    (".npz", ".npy", ".pkl", ".parquet", ".mat"): ("a file of arrays", _NEEDED),
    (".mp4", ".avi", ".mov", ".mkv", ".webm"): ("a video", _IMAGES),
    ANY_IMAGE_SUFFIXES: ("an image", _IMAGES),
    (".pbtxt",): ("a label map", "give the folder that holds the TFRecord files, too"),
    (".names", ".labels"): ("a list of classes", _IMAGES),
}
# How files of the same kinds begin, whatever they are called.
_BY_BEGINNING = {
    b"PK\x03\x04": ".zip",
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"7z\xbc\xaf": ".7z",
    b"Rar!": ".rar",
    b"\x89HDF": ".h5",
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"\x93NUMPY": ".npy",
}
_HEAD_BYTES = 4096
# A larger JSON file is not read to say what it is.
_MAX_JSON_BYTES = 2**26


def refuse_folder(folder: Path) -> NoReturn:
    """Stop at a folder that is no data set.

    Raises:
        ConfigError: with what is in it, and the data YAML for it as far as that can be guessed.
    """
    if (folder / "saved_model.pb").is_file():
        raise ConfigError(f"{folder} is an exported model (SavedModel), no data set: {_MODEL}")
    found = find_files(folder)
    raise ConfigError(
        f"{folder} is no data set of a known layout: found {found.summary()}; {_KNOWN}; "
        f"{_mend(found)}"
    )


def refuse_file(path: Path) -> None:
    """Stop at a file that is neither a data YAML nor an annotation file that stands for a data set;
    return if it may be a YAML.

    Raises:
        ConfigError: with what the file is.
    """
    name, suffix = path.name.lower(), path.suffix.lower()
    if not path.is_file() or suffix in (".yaml", ".yml"):
        _refuse_binary(path)
    elif any(word in name for word in (".tfrecord", ".record")):
        _refuse_record(path)
    elif (told := _by_suffix(suffix)) is not None:
        raise ConfigError(f"{path} is {told[0]}: {told[1]}")
    elif suffix == ".json":
        _refuse_json(path)
    elif suffix == ".xml":
        what = "the annotation of one image, as Pascal VOC has it"
        what = what if looks_like_voc(path) else "an XML file of an unknown kind"
        raise ConfigError(f"{path} is {what}: give the folder that holds all of them")
    elif suffix == ".txt":
        what = "a text file that lists no images and holds no labels"
        if lists_images(path):
            what = "a list of images"
        elif is_label_file(path):
            what = "the label file of one image, as YOLO has it"
        raise ConfigError(f"{path} is {what}: {_IMAGES}")
    else:
        _refuse_binary(path)


def _refuse_record(path: Path) -> NoReturn:
    maps = sorted(path.parent.glob("*.pbtxt"))
    settings: dict[str, Any] = {"format": "tfrecord", "splits": {split_of(path.stem): path.name}}
    if len(maps) == 1:
        settings["label_map"] = maps[0].name
    raise ConfigError(f"{path} is a TFRecord file: write {_yaml_for(path.parent, settings)}")


def _refuse_json(path: Path) -> None:
    """Stop at a JSON file that is neither COCO's nor a tool's, if it can be read."""
    if is_coco(path) or path.stat().st_size > _MAX_JSON_BYTES:
        return
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return  # the reader tells where it is broken
    first = content[0] if isinstance(content, list) and content else content
    keys = list(first)[:8] if isinstance(first, dict) else []
    if isinstance(content, dict) and "images" in content:
        return  # the reader tells what else COCO needs
    if {"image_id", "score"} <= set(keys):
        what = "a file of detections (COCO's results), which are no annotations"
    elif {"image_id", "category_id"} <= set(keys):
        raise ConfigError(
            f"{path} is a list of annotations alone: name the COCO file that holds the images and "
            "categories, too"
        )
    else:
        kind = "list" if isinstance(content, list) else "object"
        told = ", ".join(map(repr, keys)) or "nothing"
        what = f"a JSON {kind} of an unknown kind (with {told[:200]})"
    raise ConfigError(
        f"{path} is {what}: files of COCO, labelme, VIA, CreateML, Label Studio, Datumaro are read"
    )


def _refuse_binary(path: Path) -> None:
    """Stop at what is no text."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return  # read_yaml says why
    suffix = next((s for begin, s in _BY_BEGINNING.items() if head.startswith(begin)), None)
    if head[257:262] == b"ustar":
        suffix = ".tar"
    told = _by_suffix(suffix)
    if told is not None:
        raise ConfigError(f"{path} is {told[0]}: {told[1]}")
    is_utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in head and not is_utf16:
        raise ConfigError(f"{path} is a binary file of an unknown kind: {_NEEDED}")


def _by_suffix(suffix: str | None) -> tuple[str, str] | None:
    return next((told for suffixes, told in _BY_SUFFIX.items() if suffix in suffixes), None)


def _mend(found: FoundFiles) -> str:
    """Return what to do with a folder of these files."""
    settings = suggested_settings(found)
    if settings is not None:
        return f"if this is meant, write {_yaml_for(found.folder, settings)}"
    every = [path for paths in found.by_kind.values() for path in paths]
    archives = [p for p in every if (_by_suffix(p.suffix.lower()) or ("", ""))[1] == _UNPACK]
    if archives and not found.of("image"):
        return f"unpack {archives[0].relative_to(found.folder)} first"
    is_labelled = any(found.of(kind) for kind in KINDS)
    if is_labelled == bool(found.of("image")):
        return EXAMPLE
    lacking = "image" if is_labelled else "file of annotations"
    return (
        f"no {lacking} is among them: give the folder that holds both, such as "
        f"{found.folder.absolute().parent} if they lie there"
    )


def _yaml_for(folder: Path, settings: dict[str, Any]) -> str:
    return f"{folder / 'data.yaml'}: {as_yaml(settings)}"
