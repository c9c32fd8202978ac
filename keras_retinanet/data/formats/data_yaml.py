"""What a data YAML may hold: the settings of each format, which know how to read a split."""

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pydantic

from keras_retinanet.config.yaml_files import read_yaml
from keras_retinanet.data.formats.class_selection import Merged
from keras_retinanet.data.formats.coco import read_coco
from keras_retinanet.data.formats.data_source import (
    ClassGroups,
    ClassNames,
    DataSource,
    PathOf,
    Settings,
)
from keras_retinanet.data.formats.fizyr_csv import read_csv
from keras_retinanet.data.formats.kitti import DONT_CARE, read_kitti
from keras_retinanet.data.formats.open_images import read_open_images
from keras_retinanet.data.formats.records.label_map import label_map_of, read_label_map
from keras_retinanet.data.formats.records.shards import find_shards
from keras_retinanet.data.formats.records.tfds import read_tfds, tfds_splits
from keras_retinanet.data.formats.records.tfrecord import read_tfrecord
from keras_retinanet.data.formats.tools.tool_source import READERS, ToolSource
from keras_retinanet.data.formats.voc import read_voc
from keras_retinanet.data.formats.yolo import read_yolo
from keras_retinanet.data.formats.yolo_files.yolo_yaml import YoloYaml, present_splits, split_entry
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError
from keras_retinanet.system.buckets.bucket_address import place_in
from keras_retinanet.system.buckets.incoming import staged


class CocoSplit(Settings):
    """Where a split's images are, and its JSON file."""

    images: str
    annotations: str


class CocoSource(DataSource):
    """A data set in COCO's format.

    Attributes:
        boxes: what a bbox holds: x, y, width, height, as COCO has it, or the corners.
    """

    format: Literal["coco"]
    splits: dict[str, CocoSplit]
    classes: ClassNames | ClassGroups | None = None
    boxes: Literal["xywh", "xyxy"] = "xywh"

    def read(self, split: str, path_of: PathOf) -> RawAnnotations:
        files = self.splits[split]
        return read_coco(path_of(files.images), path_of(files.annotations), boxes=self.boxes)


class VocSplit(Settings):
    """Folders of images and XML files; or image sets, of which several are those of classes."""

    images: str | None = None
    annotations: str | None = None
    image_set: str | list[str] | None = None


class VocSource(DataSource):
    """A data set in Pascal VOC's format; a split is the name of an image set, or folders."""

    list_declares: ClassVar[bool] = True

    format: Literal["voc"]
    root: str = "."
    images: str | None = None
    annotations: str | None = None
    splits: dict[str, str | VocSplit]
    classes: ClassNames | ClassGroups | None = None
    first_pixel: Literal[0, 1] | None = None

    def read(self, split: str, path_of: PathOf) -> RawAnnotations:
        root = staged(path_of(self.root))
        images, annotations, image_set = self._places(split, root)
        return read_voc(
            root,
            image_set,
            self.declared(),
            annotations=annotations,
            images=images,
            other_annotations=[self._places(name, root)[1] for name in self.splits],
            first_pixel=self.first_pixel,
        )

    def _places(self, split: str, root: Path) -> tuple[Path, Path, str | list[str] | None]:
        """Return the folder of images, that of XML files, and the image sets of a split."""
        entry = self.splits[split]
        own = VocSplit(image_set=entry) if isinstance(entry, str) else entry
        annotations = own.annotations or self.annotations or own.images or "Annotations"
        images = own.images or self.images or (own.annotations or "JPEGImages")
        return (
            staged(place_in(root, images.replace("\\", "/"))),
            staged(place_in(root, annotations.replace("\\", "/"))),
            own.image_set,
        )


class CsvSplit(Settings):
    """A split's CSV file, where its images are if not beside it, and, of a file with a column of
    splits, what that says of this one."""

    annotations: str
    images: str | None = None
    subset: str | None = None


class CsvSource(DataSource):
    """A data set in CSV files of a box to a row, such as fizyr's; a split is a file.

    Attributes:
        classes: a file of rows name,id; or as in every format.
        images: the folder that names of images are relative to; the file's own if left out.
        boxes: the order of the four numbers of a box where no header tells it.
    """

    list_declares: ClassVar[bool] = True

    format: Literal["csv"]
    splits: dict[str, str | CsvSplit]
    classes: str | ClassNames | ClassGroups | None = None
    images: str | None = None
    boxes: Literal["xyxy", "xxyy", "xywh", "cxcywh"] | None = None

    def read(self, split: str, path_of: PathOf) -> RawAnnotations:
        files = self._files(split)
        images = files.images or self.images
        declared = self.declared()
        return read_csv(
            path_of(files.annotations),
            path_of(self.classes) if isinstance(self.classes, str) else declared,
            other_splits=[path_of(self._files(s).annotations) for s in self.splits if s != split],
            images=None if images is None else path_of(images),
            order=self.boxes,
            excluded=self.exclude_classes,
            subset=files.subset,
        )

    def _files(self, split: str) -> CsvSplit:
        entry = self.splits[split]
        return CsvSplit(annotations=entry) if isinstance(entry, str) else entry


class KittiSplit(Settings):
    """A folder below the root, and the list of those of its images that belong to the split."""

    folder: str = "training"
    image_list: str | None = None
    images: str = "image_2"
    annotations: str = "label_2"


class KittiSource(DataSource):
    """A data set in KITTI's format; a split is a folder of image_2 and label_2, or a list of it."""

    list_declares: ClassVar[bool] = True

    format: Literal["kitti"]
    root: str
    splits: dict[str, KittiSplit]
    classes: ClassNames | ClassGroups | None = None
    ignored: list[str] = [DONT_CARE]

    @pydantic.model_validator(mode="after")
    def _one_or_the_other(self) -> "KittiSource":
        both = set(self.classes or ()) & set(self.ignored)
        if both:
            raise ValueError(f"{sorted(both)} cannot be both in classes and ignored")
        return self

    def read(self, split: str, path_of: PathOf) -> RawAnnotations:
        root, files = staged(path_of(self.root)), self.splits[split]
        return read_kitti(
            root / files.folder,
            None if files.image_list is None else root / files.image_list,
            self.declared(),
            ignored=self.ignored,
            images_folder=root / files.folder / files.images,
            labels_folder=root / files.folder / files.annotations,
        )


class OpenImagesSplit(Settings):
    """Where a split's images are, its CSV file, and the list of images to read of it."""

    images: str
    annotations: str
    image_list: str | None = None


class OpenImagesSource(DataSource):
    """Boxes of Open Images."""

    format: Literal["open_images"]
    splits: dict[str, OpenImagesSplit]
    classes: str | None = None

    def read(self, split: str, path_of: PathOf) -> RawAnnotations:
        files = self.splits[split]
        return read_open_images(
            path_of(files.images),
            path_of(files.annotations),
            None if self.classes is None else path_of(self.classes),
            None if files.image_list is None else path_of(files.image_list),
        )


class YoloSplit(Settings):
    """Where a split's images are, and the folder of its label files."""

    images: str
    annotations: str | None = None


class YoloSource(DataSource):
    """A YOLO data set: `data_yaml` is Ultralytics' file, or `root` the folder that holds it; a file
    with neither is itself that file. A split is one of its keys, or the place of its images.
    """

    model_config = pydantic.ConfigDict(extra="allow")  # Ultralytics' own keys

    format: Literal["yolo"]
    root: str | None = None
    data_yaml: str | None = None
    splits: dict[str, str | YoloSplit] = {}
    classes: ClassNames | ClassGroups | None = None

    def completed(self, path: Path, path_of: PathOf) -> "YoloSource":
        file = self.data_yaml or (f"{self.root}/data.yaml" if self.root else None)
        # A file of names alone, beside images and labels, is in the settings already.
        if file is None and path.is_file() and (self.splits or present_splits(read_yaml(path))):
            file = path.name
        whole = self.model_copy(update={"data_yaml": file})
        splits = self.splits or {key: key for key in present_splits(whole._yaml(path_of).values)}
        return whole.model_copy(update={"splits": splits})

    def read(self, split: str, path_of: PathOf) -> RawAnnotations:
        if not self.splits:
            raise RuntimeError("a YOLO data set is read after `completed` has told its splits")
        yaml, key = self._yaml(path_of), self.splits[split]
        if isinstance(key, str) and (split_entry(yaml.values, key) or not path_of(key).exists()):
            return read_yolo(yaml, key)
        entry = key if isinstance(key, str) else key.model_dump()
        return read_yolo(dataclasses.replace(yaml, values={**yaml.values, split: entry}), split)

    def _yaml(self, path_of: PathOf) -> YoloYaml:
        """Return Ultralytics' file; or what it would hold, of a folder that has none."""
        if self.data_yaml is not None:
            file = path_of(self.data_yaml)
            return YoloYaml(read_yaml(file), file, file.parent)
        values = self.model_extra or {}
        folder = path_of(".")
        names = values.get("names")
        return YoloYaml(values, folder / names if isinstance(names, str) else folder, folder)


class TfrecordSource(DataSource):
    """TFRecord files; a split is a file, a pattern, the beginning of a set of shards, or a list."""

    format: Literal["tfrecord"]
    splits: dict[str, str | list[str]]
    label_map: str | None = None
    classes: list[str] | dict[int, str] | ClassGroups | None = None
    images: str | None = None

    def read(self, split: str, path_of: PathOf) -> RawAnnotations:
        label_map = None
        if self.label_map is not None:
            label_map = read_label_map(path_of(self.label_map))
        elif self.classes is not None and self._classes_declare():
            label_map = label_map_of(self.classes, "classes")
        others = self.splits if label_map is None else ()
        return read_tfrecord(
            self._shards(split, path_of),
            label_map=label_map,
            class_shards=[path for name in others for path in self._shards(name, path_of)],
            images=path_of(self.images) if self.images is not None else None,
        )

    def picked(self) -> Merged | list[str] | None:
        return None if self._classes_declare() else super().picked()

    def _classes_declare(self) -> bool:
        """Whether `classes` is the label map and not a choice among the classes of another."""
        if isinstance(self.classes, dict):
            return all(isinstance(key, int) for key in self.classes)
        return self.label_map is None

    def _shards(self, split: str, path_of: PathOf) -> list[Path]:
        entry = self.splits[split]
        texts = [entry] if isinstance(entry, str) else entry
        if not texts:
            raise DataError(f"the split {split!r} names no TFRecord file")
        files = [path for text in texts for path in find_shards(path_of(text))]
        return list(dict.fromkeys(files))


class TfdsSource(DataSource):
    """A data set that TensorFlow Datasets has prepared; a split is one of its splits."""

    format: Literal["tfds"]
    name: str
    splits: dict[str, str] = {}
    data_dir: str | None = None

    def completed(self, path: Path, path_of: PathOf) -> "TfdsSource":
        splits = self.splits or tfds_splits(self.name, self._folder(path_of))
        return self.model_copy(update={"splits": splits})

    def read(self, split: str, path_of: PathOf) -> RawAnnotations:
        return read_tfds(self.name, self.splits[split], self._folder(path_of))

    def _folder(self, path_of: PathOf) -> Path | None:
        return None if self.data_dir is None else path_of(self.data_dir)


class MixPart(Settings):
    """One of the data sets in a mix; `splits` maps the mix's splits to its own."""

    data: str
    weight: pydantic.PositiveFloat = 1.0
    splits: dict[str, str] | None = None


class MixSource(Settings):
    """Several data sets in one: other data YAMLs or folders, and how much of an epoch each has.

    It reads nothing itself: `data.source` loads its parts.
    """

    format: Literal["mix"]
    sources: Annotated[list[MixPart], pydantic.Field(min_length=1)]


SOURCES: dict[str, type[DataSource] | type[MixSource]] = {
    "coco": CocoSource,
    "voc": VocSource,
    "csv": CsvSource,
    "kitti": KittiSource,
    "open_images": OpenImagesSource,
    "yolo": YoloSource,
    "tfrecord": TfrecordSource,
    "tfds": TfdsSource,
    "mix": MixSource,
    **dict.fromkeys(READERS, ToolSource),
}
