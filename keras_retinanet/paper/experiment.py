"""An experiment as data: its rows, what each changes, and the paper's figures for it."""

import json
import re
from pathlib import Path
from typing import Any, Literal

import pydantic

from keras_retinanet.config.load import load_config
from keras_retinanet.config.schema import Config
from keras_retinanet.config.yaml_files import did_you_mean, read_yaml, validated
from keras_retinanet.errors import ConfigError

FOLDER = Path(__file__).parent / "experiments"
QUICK_FILE = Path(__file__).parent / "quick.yaml"

# COCO's figures by the names of `evaluation.COCO_FIGURES`.
Figure = Literal["AP", "AP50", "AP75", "APs", "APm", "APl"]
Scale = Literal["paper", "quick"]


class _Data(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Row(_Data):
    """One training.

    Attributes:
        settings: what the row changes, "section.name" -> value.
        paper: the paper's values of the experiment's figures, in percent.
        paper_ms: the paper's milliseconds for an image.
    """

    name: str
    settings: dict[str, Any] = {}
    paper: tuple[float, ...] | None = None
    paper_ms: float | None = None
    note: str = ""


class Detector(_Data):
    """Another detector in figure 2: AP in percent, milliseconds for an image."""

    name: str
    ap: float
    ms: float


class Experiment(_Data):
    """A table of the paper, or one of one's own.

    Attributes:
        paper: where the paper's figures come from.
        config: the settings that all rows share.
        figures: the columns.
        measure_speed: also time each row's model.
        others: further points of a plot of speed against accuracy.
    """

    title: str
    paper: str = ""
    config: str
    figures: tuple[Figure, ...] = ("AP", "AP50", "AP75")
    measure_speed: bool = False
    rows: tuple[Row, ...]
    others: tuple[Detector, ...] = ()

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Experiment":
        if not self.rows:
            raise ValueError("rows must not be empty")
        names = [row.name for row in self.rows]
        if len(set(names)) != len(names):
            raise ValueError("rows must have different names")
        folders = [folder_name(name) for name in names]
        if not all(folders) or len(set(folders)) != len(folders):
            raise ValueError(
                "rows must have names that differ in letters or digits, which name their folders, "
                f"got {names}"
            )
        for row in self.rows:
            if row.paper is not None and len(row.paper) != len(self.figures):
                raise ValueError(
                    f"row {row.name!r}: paper holds {len(row.paper)} numbers for the "
                    f"{len(self.figures)} figures {', '.join(self.figures)}"
                )
        return self


class _Quick(_Data):
    """quick.yaml."""

    note: str
    config: str
    replace: dict[str, dict[Any, Any]]
    configs: dict[str, dict[str, Any]]

    def replaced(self, key: str, value: Any) -> Any:
        """Return what a row's setting means at this scale."""
        meanings = self.replace.get(key, {})
        return value if isinstance(value, list) else meanings.get(value, value)


def folder_name(row: str) -> str:
    """Return a row's name as that of a folder."""
    return re.sub(r"[^a-z0-9.]+", "-", row.lower()).strip("-.")


def experiment_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_experiment(name: str) -> Experiment:
    """Return a shipped experiment by its name, or one from a YAML file.

    Raises:
        ConfigError: there is none of that name, or the file does not fit.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
        if not path.is_file():
            raise ConfigError(
                f"there is no experiment {name!r}: {did_you_mean(name, experiment_names())}"
            )
    values = read_yaml(path)
    if "rows_of" in values:  # a figure of another experiment's rows
        shared = read_yaml(path.parent / f"{values.pop('rows_of')}.yaml")
        values = {**shared, **values}
    return validated(Experiment, values, str(path))


def row_config(experiment: Experiment, row: Row, scale: Scale, overrides: list[str]) -> Config:
    """Return the settings of a row's training at a scale; overrides come last.

    Raises:
        ConfigError: a setting is unknown or does not fit; the experiment has no quick scale.
    """
    name, settings = experiment.config, dict(row.settings)
    if scale == "quick":
        quick = _read_quick()
        if name not in quick.configs:
            raise ConfigError(
                f"the config {name} has no quick scale; those of {sorted(quick.configs)} have: "
                "use --scale paper, which takes the config as it is"
            )
        settings = {key: quick.replaced(key, value) for key, value in settings.items()}
        settings = {**quick.configs[name], **settings}
        name = quick.config
    changes = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return load_config(name, [*changes, *overrides])


def scale_note(scale: Scale) -> str:
    """Return what a table has to say of its scale."""
    return _read_quick().note if scale == "quick" else ""


def _read_quick() -> _Quick:
    return validated(_Quick, read_yaml(QUICK_FILE), str(QUICK_FILE))
