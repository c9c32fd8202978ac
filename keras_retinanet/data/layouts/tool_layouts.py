"""Files and folders of labelling tools: told by what is in the files, not by their names."""

import logging
import re
from pathlib import Path

from keras_retinanet.data.formats.text_lines import read_lines
from keras_retinanet.data.formats.tools.automl_csv import USES, is_automl_csv
from keras_retinanet.data.formats.tools.hf_metadata import METADATA
from keras_retinanet.data.formats.tools.oidv4 import is_oidv4
from keras_retinanet.data.formats.tools.supervisely import is_supervisely
from keras_retinanet.data.formats.tools.via import CSV_TITLES
from keras_retinanet.data.layouts.image_folders import ends_of
from keras_retinanet.data.layouts.places import (
    Settings,
    as_yaml,
    files,
    several_for_split,
    split_folders,
    split_of,
    subfolder,
    subfolders,
    told_split,
)
from keras_retinanet.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

TOOL_SUFFIXES = (".json", ".csv", ".xml", ".jsonl")
# Files of a folder that are looked into before it is taken for one of something else.
_MAX_LOOKED_INTO = 20
_IMAGE = re.compile(rb"<image\b")
_SUBSET = re.compile(rb"""<image\b[^>]*\bsubset=["']([^"']*)["']""")


def tool_layout(folder: Path) -> Settings | None:
    """Supervisely's folders; else files of a tool here, in annotations/ or in folders of splits."""
    projects = _supervisely(folder) or _oidv4(folder)
    if projects is not None:
        return projects
    annotations = subfolder(folder, "annotations", "annotation", "labels", "json")
    for place in (folder, *([annotations] if annotations is not None else [])):
        settings = _files_of(place, folder)
        if settings is not None:
            return settings
    found = {split: _files_of(sub, folder) for split, sub in split_folders(folder).items()}
    kinds = {settings["format"] for settings in found.values() if settings}
    if len(kinds) != 1:
        return None
    splits = {}
    for split, settings in found.items():
        if settings is not None:  # each of them is one split, whatever its file is called
            splits[split] = next(iter(settings["splits"].values()))
    return {"format": kinds.pop(), "splits": splits}


def tool_file(path: Path) -> Settings | None:
    """Return the settings of one file of a labelling tool; None of another kind."""
    kind = tool_kind(path)
    if kind is None:
        return None
    if kind == "labelme" and len(_of_kind(path.parent, "labelme")) > 1:
        return {"format": kind, "splits": {"train": "."}}
    return {"format": kind, "splits": _splits_in(kind, path, path.parent)}


def _files_of(place: Path, folder: Path) -> Settings | None:
    """Return the settings of the files of a tool in a folder; places are relative to `folder`."""
    kinds: dict[str, list[Path]] = {}
    for path in files(place, *TOOL_SUFFIXES)[:_MAX_LOOKED_INTO]:
        kind = tool_kind(path)
        if kind is not None:
            kinds.setdefault(kind, []).append(path)
    if not kinds:
        return None
    if len(kinds) > 1:
        names = " and ".join(f"{paths[0].name} ({kind})" for kind, paths in kinds.items())
        raise ConfigError(f"{place} holds {names}: name the one to use")
    (kind, paths), *_ = kinds.items()
    if kind == "labelme":  # a file for each image
        return {"format": kind, "splits": {"train": _relative(place, folder)}}
    splits: Settings = {}
    for path in _without_twins(paths):
        for split, entry in _splits_in(kind, path, folder).items():
            if split in splits:
                one = {"format": kind, "splits": {split: splits[split]}}
                both = [splits[split]["annotations"], entry["annotations"]]
                raise ConfigError(several_for_split(folder, split, both, one))
            splits[split] = entry
    return {"format": kind, "splits": splits}


def _without_twins(paths: list[Path]) -> list[Path]:
    """Return the files of a tool without its CSV of the same, where its JSON is there, too."""
    json_files = [path for path in paths if path.suffix.lower() == ".json"]
    told = {told_split(path.stem) for path in json_files}
    twins = [path for path in paths if path not in json_files and told_split(path.stem) in told]
    for path in twins:
        logger.warning("%s is passed over: the JSON beside it is read", path)
    return [path for path in paths if path not in twins]


def _splits_in(kind: str, path: Path, folder: Path) -> Settings:
    """Return the splits that one file holds."""
    place = {"annotations": _relative(path, folder)}
    subsets = _subsets(kind, path)
    if len(subsets) > 1:
        return {split: {**place, "subset": name} for split, name in subsets.items()}
    told = told_split(path.stem) or split_of(path.parent.name if path.parent != folder else "")
    return {told: {**place, **_images(path, folder, told)}}


def _subsets(kind: str, path: Path) -> dict[str, str]:
    """Return what a file calls the splits that it divides its images into, by their names here."""
    if kind == "automl_csv":
        uses = {line.split(",")[0].strip().upper() for line in read_lines(path)}
        return {split: split for split in ("train", "val", "test") if split in _uses(uses)}
    if kind == "cvat_images":
        content = path.read_bytes()
        told = [match.decode("utf-8", "replace") for match in _SUBSET.findall(content)]
        names = {*told, *(["default"] if len(told) < len(_IMAGE.findall(content)) else [])}
        found: dict[str, str] = {}
        for name in sorted(names):
            if split_of(name) in found:
                both = f"{found[split_of(name)]!r} and {name!r}"
                entry = {"annotations": path.name, "subset": found[split_of(name)]}
                one = {"format": kind, "splits": {split_of(name): entry}}
                raise ConfigError(
                    f"{path}: the subsets {both} are both {split_of(name)}: write a data.yaml that "
                    f"names the one: {as_yaml(one)}"
                )
            found[split_of(name)] = name
        return found
    return {}


def _uses(words: set[str]) -> set[str]:
    return {USES[word] for word in words if word in USES}


def _images(path: Path, folder: Path, split: str) -> dict[str, str]:
    """Return the folder of a file's images, where it is named after the split."""
    for place in (folder / "images", folder):
        found = split_folders(place).get(split) if place.is_dir() else None
        if found is not None and found != path.parent:
            return {"images": _relative(found, folder)}
    return {}


def _supervisely(folder: Path) -> Settings | None:
    if is_supervisely(folder):
        return {"format": "supervisely", "splits": {"train": "."}}
    found = [sub for sub in subfolders(folder) if is_supervisely(sub)]
    if not found:
        return None
    told = {split_of(sub.name) if len(found) == 1 else told_split(sub.name): sub for sub in found}
    if None in told or len(told) < len(found):
        names = ", ".join(sub.name for sub in found)
        guess = dict(zip(("train", "val"), (sub.name for sub in found), strict=False))
        raise ConfigError(
            f"{folder}: which of {names} are train and val is not told: write a data.yaml, such as "
            f"{as_yaml({'format': 'supervisely', 'splits': guess})}"
        )
    return {
        "format": "supervisely",
        "splits": {s: told[s].name for s in ("train", "val", "test") if s in told},
    }


def _oidv4(folder: Path) -> Settings | None:
    """OID/Dataset/<split>/<class>/Label/, or from any of these folders on."""
    for place in (folder, folder / "Dataset", folder / "OID" / "Dataset"):
        found = {s: sub for s, sub in split_folders(place).items() if is_oidv4(sub)}
        if found:
            splits = {split: _relative(sub, folder) for split, sub in found.items()}
            return {"format": "oidv4", "splits": splits}
    return {"format": "oidv4", "splits": {"train": "."}} if is_oidv4(folder) else None


def _of_kind(folder: Path, kind: str) -> list[Path]:
    some = files(folder, *TOOL_SUFFIXES)[:_MAX_LOOKED_INTO]
    return [path for path in some if tool_kind(path) == kind]


def tool_kind(path: Path) -> str | None:
    """Return the format of a file, by marks that no other format has."""
    suffix = path.suffix.lower()
    if path.name == METADATA:
        return "hf_metadata"
    if suffix == ".csv":
        return _csv_kind(path)
    content = ends_of(path)
    if suffix == ".xml":
        is_cvat = b"<annotations" in content and re.search(rb"<(image|track)\b[^>]*\bid=", content)
        return "cvat_images" if is_cvat else None
    return _json_kind(content.lstrip(b"\xef\xbb\xbf \t\r\n")) if suffix == ".json" else None


def _csv_kind(path: Path) -> str | None:
    try:
        first = next(iter(read_lines(path)), "")
    except DataError:
        return None
    if all(title in first for title in CSV_TITLES):
        return "via"
    return "automl_csv" if is_automl_csv(first) else None


def _json_kind(content: bytes) -> str | None:
    def has(*names: bytes) -> bool:
        return all(re.search(rb'"' + name + rb'"\s*:', content) for name in names)

    if content.startswith(b"["):
        if has(b"data") and (has(b"annotations") or has(b"completions")):
            return "label_studio"
        is_named = has(b"image") or has(b"imagefilename")
        return "createml" if is_named and has(b"label", b"coordinates") else None
    if has(b"imagePath", b"shapes"):
        return "labelme"
    if has(b"_via_img_metadata") or has(b"filename", b"regions"):
        return "via"
    return "datumaro" if has(b"items", b"categories") else None


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
