"""The data YAML: names a data set's format, files and splits; `load_dataset` reads one split."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from keras_retinanet.data.cleaning import RawAnnotations, clean
from keras_retinanet.data.coco import read_coco
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.sampling import mix_datasets
from keras_retinanet.data.voc import read_voc
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.yaml_files import did_you_mean, expand_variables, read_yaml, validated


class _Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


class CocoSplit(_Settings):
    images: str
    annotations: str


class CocoSource(_Settings):
    """A data set in COCO's format."""

    format: Literal["coco"]
    splits: dict[str, CocoSplit]

    def read(self, split: str, path_of: Callable[[str], Path]) -> RawAnnotations:
        files = self.splits[split]
        return read_coco(path_of(files.images), path_of(files.annotations))


class VocSource(_Settings):
    """A data set in Pascal VOC's format; a split is the name of an image set."""

    format: Literal["voc"]
    root: str
    splits: dict[str, str]
    classes: list[str] | None = None

    def read(self, split: str, path_of: Callable[[str], Path]) -> RawAnnotations:
        return read_voc(path_of(self.root), self.splits[split], self.classes)


class MixPart(_Settings):
    """One of the data sets in a mix; `splits` maps the mix's splits to its own."""

    data: str
    weight: pydantic.PositiveFloat = 1.0
    splits: dict[str, str] | None = None


class MixSource(_Settings):
    """Several data sets in one: other data YAMLs, and how much of an epoch each has."""

    format: Literal["mix"]
    sources: Annotated[list[MixPart], pydantic.Field(min_length=1)]


SOURCES = {"coco": CocoSource, "voc": VocSource, "mix": MixSource}


def load_dataset(
    data_yaml: str | Path, split: str, *, decode_images: bool = True
) -> DetectionDataset:
    """Return one split of the data set that a data YAML names.

    Paths in the YAML are relative to it, and may hold ${VARIABLES}.

    Args:
        decode_images: read every image to its end before use, which finds truncated files.

    Raises:
        ConfigError: the YAML cannot be used.
        DataError: the annotations cannot be used, or the split has no usable image.
    """
    data_yaml = Path(data_yaml)
    source = _read_source(data_yaml)
    names = split_names(data_yaml)
    if split not in names:
        raise DataError(f"{data_yaml} has no split {split!r}: {did_you_mean(split, names)}")
    if isinstance(source, MixSource):
        return _load_mix(source, data_yaml, split, decode_images=decode_images)

    def path_of(text: str) -> Path:
        return data_yaml.parent / expand_variables(text, str(data_yaml))

    dataset = clean(source.read(split, path_of), decode_images=decode_images)
    if not len(dataset):
        problems = sorted({f.problem for f in dataset.findings})
        raise DataError(
            f"the split {split!r} of {data_yaml} has no usable image"
            + (f" ({'; '.join(problems)})" if problems else "")
        )
    return dataset


def split_names(data_yaml: str | Path) -> list[str]:
    """Return the names of the splits in a data YAML; a mix has those of all its sources."""
    return _split_names(Path(data_yaml), ())


def _split_names(path: Path, seen: tuple[Path, ...]) -> list[str]:
    if path.resolve() in seen:
        raise ConfigError(f"{path}: the mix leads back to the same file")
    source = _read_source(path)
    if not isinstance(source, MixSource):
        return list(source.splits)
    names = {}
    for part in source.sources:
        own = _split_names(_path_of_part(part, path), (*seen, path.resolve()))
        for target, name in (part.splits or {}).items():
            if name not in own:
                raise ConfigError(
                    f"{path}: sources: {part.data} has no split {name!r} for {target!r}: "
                    f"{did_you_mean(name, own)}"
                )
        names.update(dict.fromkeys(own if part.splits is None else part.splits))
    return list(names)


def _load_mix(
    source: MixSource, path: Path, split: str, *, decode_images: bool
) -> DetectionDataset:
    datasets, weights, names = [], [], []
    for number, part in enumerate(source.sources, start=1):
        part_path = _path_of_part(part, path)
        own = (
            {name: name for name in split_names(part_path)} if part.splits is None else part.splits
        )
        if split in own:
            datasets.append(load_dataset(part_path, own[split], decode_images=decode_images))
            weights.append(part.weight)
            names.append(f"{part_path.stem}-{number}")
    return mix_datasets(datasets, weights, names)


def _path_of_part(part: MixPart, path: Path) -> Path:
    return path.parent / expand_variables(part.data, str(path))


def _read_source(path: Path) -> CocoSource | VocSource | MixSource:
    values = read_yaml(path)
    kind = str(values.get("format"))
    if kind not in SOURCES:
        raise ConfigError(f"{path}: format = {kind!r}: {did_you_mean(kind, list(SOURCES))}")
    return validated(SOURCES[kind], values, str(path))
