"""What a data YAML holds for the formats of labelling tools, and what is made of a split."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pydantic

from keras_retinanet.config.yaml_files import shown
from keras_retinanet.data.formats.data_source import DataSource, PathOf
from keras_retinanet.data.formats.image_finder import ImageFinder
from keras_retinanet.data.formats.tools.automl_csv import USES, read_automl_csv
from keras_retinanet.data.formats.tools.createml import read_createml
from keras_retinanet.data.formats.tools.cvat_images import read_cvat_images
from keras_retinanet.data.formats.tools.datumaro import read_datumaro
from keras_retinanet.data.formats.tools.hf_metadata import read_hf_metadata
from keras_retinanet.data.formats.tools.label_studio import read_label_studio
from keras_retinanet.data.formats.tools.labelled_images import (
    Labels,
    all_class_names,
    raw_annotations,
)
from keras_retinanet.data.formats.tools.labelme import read_labelme
from keras_retinanet.data.formats.tools.oidv4 import read_oidv4
from keras_retinanet.data.formats.tools.supervisely import read_supervisely
from keras_retinanet.data.formats.tools.via import read_via
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

READERS: dict[str, Callable[[Path], Labels]] = {
    "labelme": read_labelme,
    "via": read_via,
    "createml": read_createml,
    "cvat_images": read_cvat_images,
    "automl_csv": read_automl_csv,
    "label_studio": read_label_studio,
    "supervisely": read_supervisely,
    "hf_metadata": read_hf_metadata,
    "datumaro": read_datumaro,
    "oidv4": read_oidv4,
}


class ToolSplit(pydantic.BaseModel):
    """A split's file or folder of labels, where its images are if not beside it, and, of a file
    that holds several splits, its name there."""

    model_config = pydantic.ConfigDict(extra="forbid")

    annotations: str
    images: str | None = None
    subset: str | None = None


class ToolSource(DataSource):
    """A data set as a labelling tool writes it; a split is a file or folder of labels."""

    format: Literal[
        "labelme",
        "via",
        "createml",
        "cvat_images",
        "automl_csv",
        "label_studio",
        "supervisely",
        "hf_metadata",
        "datumaro",
        "oidv4",
    ]
    splits: dict[str, str | ToolSplit]
    images: str | None = None

    def read(self, split: str, path_of: PathOf) -> RawAnnotations:
        every = {name: self._labels(name, path_of) for name in self.splits}
        own = self._files(split)
        path = path_of(own.annotations)
        folder = path if path.is_dir() else path.parent
        images = own.images or self.images
        places = [path_of(images)] if images is not None else []
        return raw_annotations(
            every[split],
            source=f"{path} {own.subset}" if own.subset else str(path),
            class_names=all_class_names(list(every.values())),
            finder=ImageFinder(*places, folder, folder / "images"),
        )

    def _labels(self, split: str, path_of: PathOf) -> Labels:
        files = self._files(split)
        path = path_of(files.annotations)
        if not os.path.exists(path):  # Path.exists raises for names that are too long
            raise DataError(f"{path_of('.')}: there is no {shown(files.annotations)}")
        labels = READERS[self.format](path)
        if files.subset is not None:
            labels.images = [i for i in labels.images if _is_of(i.subset, files.subset)]
        return labels

    def _files(self, split: str) -> ToolSplit:
        entry = self.splits[split]
        return ToolSplit(annotations=entry) if isinstance(entry, str) else entry


def _is_of(subset: str | None, wanted: str) -> bool:
    """Return whether an image's subset is the one wanted, by any of its names."""
    name = (subset or "default").upper()
    return name == wanted.upper() or USES.get(name) == wanted
