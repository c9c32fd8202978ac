"""The data YAML: names a data set's format, files and splits; `load_dataset` reads one split."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pydantic

from keras_retinanet.data.cleaning import RawAnnotations, clean
from keras_retinanet.data.coco import read_coco
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.label_map import label_map_of, read_label_map
from keras_retinanet.data.records import find_shards
from keras_retinanet.data.tfds import PREFIX, read_tfds, tfds_splits
from keras_retinanet.data.tfrecord import read_tfrecord
from keras_retinanet.data.voc import read_voc
from keras_retinanet.data.yolo import read_yolo, yolo_splits
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


class YoloSource(_Settings):
    """A YOLO data set: `data_yaml` is Ultralytics' file, or `root` the folder that holds it; a file
    with neither is itself that file. A split is one of its keys.
    """

    model_config = pydantic.ConfigDict(extra="allow")  # Ultralytics' own keys

    format: Literal["yolo"]
    root: str | None = None
    data_yaml: str | None = None
    splits: dict[str, str] = {}

    def completed(self, path: Path, path_of: Callable[[str], Path]) -> "YoloSource":
        file = self.data_yaml or (f"{self.root}/data.yaml" if self.root else path.name)
        splits = self.splits or {key: key for key in yolo_splits(path_of(file))}
        return self.model_copy(update={"data_yaml": file, "splits": splits})

    def read(self, split: str, path_of: Callable[[str], Path]) -> RawAnnotations:
        return read_yolo(path_of(self.data_yaml), self.splits[split])


class TfrecordSource(_Settings):
    """TFRecord files; a split is a file, a pattern, the beginning of a set of shards, or a list."""

    format: Literal["tfrecord"]
    splits: dict[str, str | list[str]]
    label_map: str | None = None
    classes: list[str] | dict[int, str] | None = None
    images: str | None = None

    def read(self, split: str, path_of: Callable[[str], Path]) -> RawAnnotations:
        label_map = None
        if self.label_map is not None:
            label_map = read_label_map(path_of(self.label_map))
        elif self.classes is not None:
            label_map = label_map_of(self.classes, "classes")
        others = self.splits if label_map is None else ()
        return read_tfrecord(
            self._shards(split, path_of),
            label_map=label_map,
            class_shards=[path for name in others for path in self._shards(name, path_of)],
            images=path_of(self.images) if self.images is not None else None,
        )

    def _shards(self, split: str, path_of: Callable[[str], Path]) -> list[Path]:
        texts = self.splits[split]
        texts = [texts] if isinstance(texts, str) else texts
        if not texts:
            raise DataError(f"the split {split!r} names no TFRecord file")
        files = [path for text in texts for path in find_shards(path_of(text))]
        return list(dict.fromkeys(files))


class TfdsSource(_Settings):
    """A data set that TensorFlow Datasets has prepared; a split is one of its splits."""

    format: Literal["tfds"]
    name: str
    splits: dict[str, str] = {}
    data_dir: str | None = None

    def completed(self, path: Path, path_of: Callable[[str], Path]) -> "TfdsSource":
        splits = self.splits or tfds_splits(self.name, self._folder(path_of))
        return self.model_copy(update={"splits": splits})

    def read(self, split: str, path_of: Callable[[str], Path]) -> RawAnnotations:
        return read_tfds(self.name, self.splits[split], self._folder(path_of))

    def _folder(self, path_of: Callable[[str], Path]) -> Path | None:
        return None if self.data_dir is None else path_of(self.data_dir)


SOURCES = {
    "coco": CocoSource,
    "voc": VocSource,
    "yolo": YoloSource,
    "tfrecord": TfrecordSource,
    "tfds": TfdsSource,
}
Source = CocoSource | VocSource | YoloSource | TfrecordSource | TfdsSource


def load_dataset(
    data_yaml: str | Path, split: str, *, decode_images: bool = True
) -> DetectionDataset:
    """Return one split of the data set that a data YAML names, or tfds:NAME in its place.

    Paths in the YAML are relative to it, and may hold ${VARIABLES}.

    Args:
        decode_images: read every image to its end before use, which finds truncated files.

    Raises:
        ConfigError: the YAML cannot be used.
        DataError: the annotations cannot be used, or the split has no usable image.
    """
    data_yaml = Path(data_yaml)
    source = _read_source(data_yaml)
    if split not in source.splits:
        raise DataError(
            f"{data_yaml} has no split {split!r}: {did_you_mean(split, list(source.splits))}"
        )

    dataset = clean(source.read(split, _path_of(data_yaml)), decode_images=decode_images)
    if not len(dataset):
        problems = sorted({f.problem for f in dataset.findings})
        raise DataError(
            f"the split {split!r} of {data_yaml} has no usable image"
            + (f" ({'; '.join(problems)})" if problems else "")
        )
    return dataset


def split_names(data_yaml: str | Path) -> list[str]:
    """Return the names of the splits in a data YAML."""
    return list(_read_source(Path(data_yaml)).splits)


def _path_of(data_yaml: Path) -> Callable[[str], Path]:
    return lambda text: data_yaml.parent / expand_variables(text, str(data_yaml))


def _read_source(path: Path) -> Source:
    if path.as_posix().startswith(PREFIX):
        values = {"format": "tfds", "name": path.as_posix().removeprefix(PREFIX)}
    else:
        values = read_yaml(path)
    kind = str(values.get("format"))
    if kind not in SOURCES:
        raise ConfigError(f"{path}: format = {kind!r}: {did_you_mean(kind, list(SOURCES))}")
    source = validated(SOURCES[kind], values, str(path))
    has_splits = kind not in ("yolo", "tfds")  # those may know them without being told
    return source if has_splits else source.completed(path, _path_of(path))
