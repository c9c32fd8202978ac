"""DataSource: what the settings of every format share, and how a split of it is read."""

import abc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from keras_retinanet.data.formats.class_selection import Merged, select_classes
from keras_retinanet.data.raw_annotations import RawAnnotations

# Makes a path of a text in the YAML: relative to its folder, with environment variables filled in.
PathOf = Callable[[str], Path]


class Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


def _different_names(names: list[str]) -> list[str]:
    if not names or not all(names) or len(set(names)) < len(names):
        raise ValueError("needs one or more names, all different")
    return names


def _groups_of_names(groups: dict[str, Any]) -> dict[str, Any]:
    if not groups or not all(groups):
        raise ValueError("needs one or more classes, each with the names that it is made of")
    return groups


ClassNames = Annotated[list[str], pydantic.AfterValidator(_different_names)]
ClassGroups = Annotated[
    dict[str, str | list[str] | None], pydantic.AfterValidator(_groups_of_names)
]


class DataSource(Settings, abc.ABC):
    """The settings of a data set in one format: where its splits are, and how to read one.

    Attributes:
        splits: what each split is read from, by the split's name.
        classes: a mapping picks, renames and merges classes: {car: [car, van]}. A list picks and
            orders those that the files declare; in formats whose files declare none
            (`list_declares`) it is the declaration, and an object of another class stops.
        exclude_classes: classes whose objects are left out.
        val_share: the share of the images of "train" that are the split "val" instead.
        val_seed: another seed takes other images.
        val_groups: "looks" keeps images that look alike together, "bytes" copies of a file only.
    """

    list_declares: ClassVar[bool] = False

    format: str
    splits: Mapping[str, Any]
    classes: Any = None
    exclude_classes: list[str] = []
    val_share: Annotated[float, pydantic.Field(gt=0, lt=1)] | None = None
    val_seed: Annotated[int, pydantic.Field(ge=0)] = 0
    val_groups: Literal["looks", "bytes"] = "looks"

    def completed(self, path: Path, path_of: PathOf) -> "DataSource":
        """Return the settings with what `path`, the data YAML, leaves to the data itself."""
        return self

    @abc.abstractmethod
    def read(self, split: str, path_of: PathOf) -> RawAnnotations:
        """Read one of `splits`, all of its classes.

        Raises:
            DataError: the annotations cannot be used.
        """

    def read_selected(self, split: str, path_of: PathOf) -> RawAnnotations:
        """Read one of `splits`, with the classes that `classes` and `exclude_classes` leave.

        Raises:
            DataError: the annotations cannot be used, or have no class of such a name.
        """
        return select_classes(self.read(split, path_of), self.picked(), self.exclude_classes)

    def picked(self) -> Merged | list[str] | None:
        """Return the classes to pick of those that are read; None: all."""
        if isinstance(self.classes, list):
            return None if self.list_declares else self.classes
        return self.classes if isinstance(self.classes, dict) else None

    def declared(self) -> list[str] | None:
        """Return the classes that an object may have, where the YAML declares them in a list.

        Those that are left out are among them: a reader stops at none of them.
        """
        if not self.list_declares or not isinstance(self.classes, list):
            return None
        return list(dict.fromkeys([*self.classes, *self.exclude_classes]))
