"""What names a data set: a data YAML with its format, files and splits, or a folder or file of a
format that can be told; `load_dataset` reads one split."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from keras_retinanet.data.cleaning import RawAnnotations, clean
from keras_retinanet.data.coco import read_coco
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.detect_format import HOW_TO_SPLIT, detect_format
from keras_retinanet.data.fizyr_csv import read_csv
from keras_retinanet.data.kitti import DONT_CARE, read_kitti
from keras_retinanet.data.open_images import read_open_images
from keras_retinanet.data.voc import read_voc
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.yaml_files import did_you_mean, expand_variables, shown, validated


class _Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


def _different_names(names: list[str]) -> list[str]:
    if not names or not all(names) or len(set(names)) < len(names):
        raise ValueError("needs one or more names, all different")
    return names


ClassNames = Annotated[list[str], pydantic.AfterValidator(_different_names)]


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
    classes: ClassNames | None = None

    def read(self, split: str, path_of: Callable[[str], Path]) -> RawAnnotations:
        return read_voc(path_of(self.root), self.splits[split], self.classes)


class CsvSource(_Settings):
    """A data set in fizyr's CSV format; a split is a file."""

    format: Literal["csv"]
    splits: dict[str, str]
    classes: str | None = None

    def read(self, split: str, path_of: Callable[[str], Path]) -> RawAnnotations:
        others = [path_of(text) for name, text in self.splits.items() if name != split]
        classes = None if self.classes is None else path_of(self.classes)
        return read_csv(path_of(self.splits[split]), classes, other_splits=others)


class KittiSplit(_Settings):
    folder: str = "training"
    image_list: str | None = None


class KittiSource(_Settings):
    """A data set in KITTI's format; a split is a folder of image_2 and label_2, or a list of it."""

    format: Literal["kitti"]
    root: str
    splits: dict[str, KittiSplit]
    classes: ClassNames | None = None
    ignored: list[str] = [DONT_CARE]

    @pydantic.model_validator(mode="after")
    def _one_or_the_other(self) -> "KittiSource":
        both = set(self.classes or ()) & set(self.ignored)
        if both:
            raise ValueError(f"{sorted(both)} cannot be both in classes and ignored")
        return self

    def read(self, split: str, path_of: Callable[[str], Path]) -> RawAnnotations:
        root, files = path_of(self.root), self.splits[split]
        return read_kitti(
            root / files.folder,
            None if files.image_list is None else root / files.image_list,
            self.classes,
            ignored=self.ignored,
        )


class OpenImagesSplit(_Settings):
    images: str
    annotations: str
    image_list: str | None = None


class OpenImagesSource(_Settings):
    """Boxes of Open Images."""

    format: Literal["open_images"]
    splits: dict[str, OpenImagesSplit]
    classes: str | None = None

    def read(self, split: str, path_of: Callable[[str], Path]) -> RawAnnotations:
        files = self.splits[split]
        return read_open_images(
            path_of(files.images),
            path_of(files.annotations),
            None if self.classes is None else path_of(self.classes),
            None if files.image_list is None else path_of(files.image_list),
        )


SOURCES = {
    "coco": CocoSource,
    "voc": VocSource,
    "csv": CsvSource,
    "kitti": KittiSource,
    "open_images": OpenImagesSource,
}


def load_dataset(data: str | Path, split: str, *, decode_images: bool = True) -> DetectionDataset:
    """Return one split of a data set.

    Args:
        data: a data YAML, whose paths are relative to it and may hold ${VARIABLES}; or a folder, a
            CSV or a COCO JSON file, where its format can be told.
        decode_images: read every image to its end before use, which finds truncated files.

    Raises:
        ConfigError: the YAML cannot be used, or the format cannot be told.
        DataError: the annotations cannot be used, or the split has no usable image.
    """
    source, folder = _read_source(Path(data))
    if split not in source.splits:
        raise DataError(
            f"{data} has no split {split!r}: {did_you_mean(split, list(source.splits))}"
            + (f"; to have one, {how_to_split(data)}" if split == "val" else "")
        )

    def path_of(text: str) -> Path:
        return folder / expand_variables(text, str(data))

    dataset = clean(source.read(split, path_of), decode_images=decode_images)
    if not len(dataset):
        problems = sorted({f.problem for f in dataset.findings})
        raise DataError(
            f"the split {split!r} of {data} has no usable image"
            + (f" ({'; '.join(problems)})" if problems else "")
        )
    return dataset


def split_names(data: str | Path) -> list[str]:
    """Return the names of the splits of a data set, named as for `load_dataset`."""
    return list(_read_source(Path(data))[0].splits)


def how_to_split(data: str | Path) -> str:
    """Return how a split "val" is made of a data set that has none."""
    kind = _read_source(Path(data))[0].format
    return HOW_TO_SPLIT.get(kind, "name one under `splits` in the data YAML")


def _read_source(path: Path) -> tuple[Any, Path]:
    """Return the settings of a data set, and the folder that their paths are relative to."""
    values, folder = detect_format(path)
    kind = values.get("format")
    if not isinstance(kind, str) or kind not in SOURCES:
        word = kind if isinstance(kind, str) else ""
        raise ConfigError(f"{path}: format = {shown(kind)}: {did_you_mean(word, list(SOURCES))}")
    return validated(SOURCES[kind], values, str(path)), folder
