"""A training or an evaluation that is to be compared: what its folder holds, measured anew."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keras_retinanet.config.yaml_files import read_yaml
from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.source import VAL, load_dataset
from keras_retinanet.errors import ConfigError, DataError, UserError
from keras_retinanet.evaluation.evaluate import CocoEvaluator
from keras_retinanet.evaluation.evaluation_record import EvaluationRecord
from keras_retinanet.reports.evaluation_report.measured import Measured
from keras_retinanet.system.buckets.incoming import staged
from keras_retinanet.training.runs.run_directory import (
    BEST_DETECTIONS_FILE,
    CONFIG_FILE,
    METRICS_FILE,
    is_run,
    read_run,
)

METRICS, DETECTIONS = "metrics.json", "detections.json"
# Figures that were written and figures that are measured anew differ by no more, if nothing else.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Contestant:
    """A training or an evaluation.

    Attributes:
        name: short, and different for each that is compared.
        metrics: COCO's figures; of a run whose detections cannot be measured, those that it wrote.
        history: the rows of a training's metrics.csv.
        settings: of the training, by dotted names; None where they are not known.
        measured: on the data set; None where it cannot be, for the reason in `why_not`.
        images: fingerprint of the images and objects that it was measured on.
    """

    name: str
    folder: Path
    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, str]] = ()
    settings: Mapping[str, Any] | None = None
    measured: Measured | None = None
    why_not: str = ""
    images: str = ""

    def figure(self, name: str) -> float | None:
        return self.metrics.get(name)

    def class_ap(self, name: str) -> float | None:
        return self.metrics.get("per_class", {}).get(name)


@dataclass
class DataSets:
    """The data sets that contestants were measured on, each loaded once.

    Args:
        data, split: take the place of those that the folders name.
    """

    data: str | None = None
    split: str | None = None
    _loaded: dict[tuple[str, str], DetectionDataset] = field(default_factory=dict)

    def load(self, data: str | None, split: str) -> DetectionDataset:
        """Return a split of a data set; raises UserError where it cannot be loaded."""
        data, split = self.data or data, self.split or split
        if data is None:
            raise DataError("it is not known which data these were measured on: give --data")
        if (data, split) not in self._loaded:
            self._loaded[data, split] = load_dataset(data, split, decode_images=False)
        return self._loaded[data, split]


def load_contestants(folders: Sequence[Path], data_sets: DataSets) -> list[Contestant]:
    """Return what is to be compared.

    Raises:
        ConfigError: there are fewer than two, one is given twice, or is neither a run nor an
            evaluation.
    """
    if len(folders) < 2:
        raise ConfigError("there is nothing to compare with: name two folders or more")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("a folder is given twice: name different ones")
    names = _names(folders)
    return [_contestant(folder, name, data_sets) for folder, name in zip(folders, names)]


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' paths below what they have in common."""
    paths = [os.path.abspath(folder) for folder in folders]
    common = os.path.commonpath(paths)
    return [os.path.basename(p) if p == common else os.path.relpath(p, common) for p in paths]


def _contestant(folder: Path, name: str, data_sets: DataSets) -> Contestant:
    if is_run(folder):
        return _run(folder, name, data_sets)
    if (folder / METRICS).is_file() and (folder / DETECTIONS).is_file():
        return _evaluation(folder, name, data_sets)
    raise ConfigError(
        f"{folder} is neither a run nor an evaluation: expected {CONFIG_FILE} and run.json, or "
        f"{METRICS} and {DETECTIONS}, which `retinanet evaluate --output` writes"
    )


def _run(folder: Path, name: str, data_sets: DataSets) -> Contestant:
    history: list[dict[str, str]] = []
    if (folder / METRICS_FILE).is_file():
        with open(folder / METRICS_FILE, encoding="utf-8", newline="") as file:
            history = list(csv.DictReader(file))
    rows = [row for row in history if row.get("AP")]
    best = max(rows, key=lambda row: float(row["AP"]), default=None)
    metrics: dict[str, Any] = {}
    if best is not None:
        metrics = {key: float(best[key]) for key in ("AP", "AP50", "AP75") if best.get(key)}
    given = Contestant(
        name, folder, metrics, history=history, settings=_settings(folder / CONFIG_FILE)
    )
    detections = folder / BEST_DETECTIONS_FILE
    if not detections.is_file():
        text = f"{folder} holds no {detections.name}: it was not evaluated"
        return replace(given, why_not=text)
    return _measured(given, detections, data_sets, read_run(folder).data, VAL)


def _evaluation(folder: Path, name: str, data_sets: DataSets) -> Contestant:
    record = EvaluationRecord.read(folder)
    settings = None
    if record is not None and record.model is not None:
        run = staged(Path(record.model).parent)
        settings = _settings(run / CONFIG_FILE) if is_run(run) else None
    given = Contestant(name, folder, _read_json(folder / METRICS), settings=settings)
    if record is None:
        return _measured(given, folder / DETECTIONS, data_sets, None, VAL)
    return _measured(
        given,
        folder / DETECTIONS,
        data_sets,
        record.data,
        record.split,
        max_detections=record.max_detections,
    )


def _measured(
    given: Contestant,
    detections: Path,
    data_sets: DataSets,
    data: str | None,
    split: str,
    *,
    max_detections: int = MAX_DETECTIONS,
) -> Contestant:
    """Return a contestant with what its detections give on its data set, if that is still so."""
    try:
        dataset = data_sets.load(data, split)
        known = set(dataset.category_ids)
        # Classes that the model has and the data set has not count nowhere.
        results = [r for r in _read_json(detections) if r["category_id"] in known]
        evaluator = CocoEvaluator.of_results(dataset, results, max_detections=max_detections)
    except (KeyError, TypeError) as error:
        raise DataError(f"{detections} holds no COCO results: evaluate again") from error
    except UserError as error:
        return replace(given, why_not=str(error))
    measured = Measured.of(evaluator)
    before, now = given.figure("AP"), measured.metrics["AP"]
    if before is not None and (now is None or abs(before - now) > _TOLERANCE):
        text = f"AP was {before:.4f}, and is {now or 0:.4f} on these data: they have changed"
        return replace(given, why_not=text)
    return replace(given, metrics=measured.metrics, measured=measured, images=dataset.fingerprint())


def _settings(path: Path) -> dict[str, Any]:
    """Return the settings of a config file, "section.name" -> value."""
    return {
        f"{section}.{name}": value
        for section, values in read_yaml(path).items()
        if isinstance(values, dict)
        for name, value in values.items()
    }


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}: evaluate again") from error
