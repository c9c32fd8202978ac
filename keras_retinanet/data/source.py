"""`load_dataset`: one split of the data set that a data YAML, a folder or a file names."""

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from keras_retinanet.config.yaml_files import did_you_mean, expand_variables, shown, validated
from keras_retinanet.data.checks.image_groups import group_images
from keras_retinanet.data.cleaning import clean
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.division import REST, divide_images
from keras_retinanet.data.formats.data_yaml import SOURCES, DataSource, MixSource, PathOf
from keras_retinanet.data.formats.records.tfds import PREFIX
from keras_retinanet.data.formats.yolo_files.yolo_yaml import NoSuchPlace
from keras_retinanet.data.layouts.detect_format import DATA_YAML, detect_format
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.data.sampling import mix_datasets
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.system.buckets.bucket_address import place_in
from keras_retinanet.system.buckets.incoming import staged

VAL = "val"
_CONFIG_SECTIONS = {"base", "model", "anchors", "image", "loss", "schedule", "training"}
_ORDER = (REST, VAL, "test")


def load_dataset(data: str | Path, split: str, *, decode_images: bool = True) -> DetectionDataset:
    """Return one split of a data set.

    Args:
        data: a data YAML, whose paths are relative to it and may hold ${VARIABLES}; a folder, a CSV
            or a COCO JSON file, where its format can be told, also in buckets; or tfds:NAME.
        decode_images: read every image to its end before use, which finds truncated files.

    Raises:
        ConfigError: the YAML cannot be used, or the format cannot be told.
        DataError: the annotations cannot be used, or the split has no usable image.
    """
    source, path_of = _read_source(Path(data))
    names = split_names(data)
    if split not in names:
        raise DataError(
            f"{data} has no split {split!r}: {did_you_mean(split, names)}"
            + (f"; to have one: {how_to_split(data)}" if split == VAL else "")
        )
    if isinstance(source, MixSource):
        return _load_mix(source, path_of, split, decode_images=decode_images)

    parts = () if source.val_share is None else (REST, VAL)
    whole = REST if split in parts else split
    try:
        raw = source.read_selected(whole, path_of)
    except NoSuchPlace as error:
        mend = f"; to have one: {how_to_split(data)}" if whole == VAL else ""
        raise NoSuchPlace(f"{error}{mend}") from error
    dataset = clean(raw, decode_images=decode_images, folder=path_of("."))
    if split in parts and len(dataset):
        dataset = _part(dataset, source, split, f"{data}: {REST}")
    if not len(dataset):
        problems = sorted({f.problem for f in dataset.findings})
        raise DataError(
            f"the split {split!r} of {data} has no usable image"
            + (f" ({'; '.join(problems)})" if problems else "")
        )
    return dataset


def read_annotations(data: str | Path, split: str) -> Iterator[RawAnnotations]:
    """Yield the annotations that `load_dataset` reads for a split, of a mix those of each source,
    without a look at the images.

    Raises:
        ConfigError: as `load_dataset`; or the split is a part that `val_share` takes by what the
            images look like.
        DataError: the annotations cannot be used.
    """
    source, path_of = _read_source(Path(data))
    names = split_names(data)
    if split not in names:
        raise DataError(f"{data} has no split {split!r}: {did_you_mean(split, names)}")
    if isinstance(source, MixSource):
        for path, part_split, _ in _parts_of_mix(source, path_of, split):
            yield from read_annotations(path, part_split)
        return
    if source.val_share is not None:
        raise ConfigError(
            f"{data}: val_share divides the images by what they look like, which takes all of "
            f"them: write the splits first: {how_to_split(data)}"
        )
    yield source.read_selected(split, path_of)


def absolute_name(data: str) -> str:
    """Return the name of a data set so that it holds in any folder: a path becomes absolute."""
    return str(Path(data).absolute()) if Path(data).exists() else data


def split_names(data: str | Path) -> list[str]:
    """Return the names of the splits of a data set, named as for `load_dataset`: train, val, test,
    then others.

    A mix has those of all its sources.
    """
    return in_order(_split_names(Path(data), ()))


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of splits as they are told everywhere: train, val, test, then others."""
    return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


def data_folder(data: str | Path) -> Path:
    """Return the folder that the paths of a data set are relative to."""
    return _read_source(Path(data))[1](".")


def how_to_split(data: str | Path) -> str:
    """Return how a split "val" is made of a data set that has none."""
    output = f"{Path(data).absolute().stem}-split"
    return f"retinanet data split {shlex.quote(str(data))} {shlex.quote(output)} --val 0.2"


def _split_names(path: Path, seen: tuple[Path, ...]) -> list[str]:
    if path.resolve() in seen:
        raise ConfigError(f"{path}: the mix leads back to the same file")
    source, path_of = _read_source(path)
    if not isinstance(source, MixSource):
        return _with_val(source, path)
    names: dict[str, None] = {}
    for part in source.sources:
        part_splits = _split_names(path_of(part.data), (*seen, path.resolve()))
        for target, name in (part.splits or {}).items():
            if name not in part_splits:
                raise ConfigError(
                    f"{path}: sources: {part.data} has no split {name!r} for {target!r}: "
                    f"{did_you_mean(name, part_splits)}"
                )
        names.update(dict.fromkeys(part_splits if part.splits is None else part.splits))
    return list(names)


def _refuse_without_format(path: Path, values: Mapping[str, Any]) -> NoReturn:
    """Stop at a YAML that is no data YAML, saying what it may be."""
    if _CONFIG_SECTIONS & set(values):
        raise ConfigError(f"{path} is the config of a training, no data YAML: give it as CONFIG")
    if {"names", "nc"} & set(values):
        raise ConfigError(f"{path} has names as YOLO's YAML, but no train: add train: FOLDER")
    raise ConfigError(
        f"{path} has no `format:`, which a data YAML needs; known: {', '.join(SOURCES)}"
    )


def _with_val(source: DataSource, path: Path) -> list[str]:
    """Return the splits of a data set, with the one that `val_share` takes from train."""
    names = list(source.splits)
    if source.val_share is None:
        return names
    if VAL in names or REST not in names:
        raise ConfigError(
            f"{path}: val_share takes {VAL!r} from {REST!r}, but the splits are {names}: "
            + ("remove one of the two" if VAL in names else "name one train")
        )
    return [*names, VAL]


def _part(dataset: DetectionDataset, source: DataSource, split: str, name: str) -> DetectionDataset:
    """Return what `val_share` makes the split train or val."""
    parts = divide_images(
        dataset,
        group_images(dataset.image_paths, source.val_groups),
        {VAL: source.val_share or 0.0},
        seed=source.val_seed,
        source=name,
    )
    return dataset.select(parts[split])


def _load_mix(
    source: MixSource, path_of: PathOf, split: str, *, decode_images: bool
) -> DetectionDataset:
    datasets, weights, names = [], [], []
    for path, part_split, number in _parts_of_mix(source, path_of, split):
        datasets.append(load_dataset(path, part_split, decode_images=decode_images))
        weights.append(source.sources[number].weight)
        names.append(f"{path.stem}-{number + 1}")
    return mix_datasets(datasets, weights, names)


def _parts_of_mix(
    source: MixSource, path_of: PathOf, split: str
) -> Iterator[tuple[Path, str, int]]:
    """Yield data set, its split and its number of each source that has part in a mix's split."""
    for number, part in enumerate(source.sources):
        path = path_of(part.data)
        part_splits = (
            {name: name for name in split_names(path)} if part.splits is None else part.splits
        )
        if split in part_splits:
            yield path, part_splits[split], number


def _read_source(path: Path) -> tuple[DataSource | MixSource, PathOf]:
    """Return the settings of a data set, and the function that makes paths of what they hold."""
    if path.as_posix().startswith(PREFIX):
        values = {"format": "tfds", "name": path.as_posix().removeprefix(PREFIX)}
        folder = Path()
    else:
        path = staged(path)
        values, folder = detect_format(path)
    if "format" not in values:
        _refuse_without_format(path, values)
    kind = values.get("format")
    if not isinstance(kind, str) or kind not in SOURCES:
        word = kind if isinstance(kind, str) else ""
        raise ConfigError(f"{path}: format = {shown(kind)}: {did_you_mean(word, list(SOURCES))}")
    source: DataSource | MixSource = validated(SOURCES[kind], values, str(path))

    def path_of(text: str) -> Path:
        if text.startswith(PREFIX):
            return Path(text)
        place = place_in(folder, expand_variables(text, str(path)))
        if text != ".":  # of the data YAML's own folder, only what it names is listed
            place = staged(place)
        if "\\" in text and not os.path.exists(place):  # Path.exists raises for too long names
            return Path(str(place).replace("\\", "/"))  # written on Windows
        return place

    if isinstance(source, MixSource):
        return source, path_of
    return source.completed(path / DATA_YAML if path.is_dir() else path, path_of), path_of
