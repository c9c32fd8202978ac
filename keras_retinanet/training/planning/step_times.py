"""How long steps take on this machine: timed once, and remembered."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import keras
import tensorflow as tf

from keras_retinanet.config.schema import Config
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.errors import UserError
from keras_retinanet.system.atomic_files import write_whole
from keras_retinanet.training.planning.resources import Resources
from keras_retinanet.training.planning.step_trial import StepTimes, StepTrial, as_json

# Sections of a config that change nothing in the time of a step.
_WITHOUT_EFFECT = ("schedule", "early_stopping", "inference")


class StepTimer:
    """Times configs on a data set, each once: the same data on the same machine give the same plan.

    Args:
        data: as `load_dataset` takes it.
        dataset: its training images.
        again: time everything anew, and remember that.
        folder: where times are remembered; by default in the user's cache folder.
    """

    def __init__(
        self,
        data: str,
        dataset: DetectionDataset,
        resources: Resources,
        *,
        again: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.data = data
        self.dataset = dataset
        self.resources = resources
        self.again = again
        self.folder = folder or _default_folder()

    def __call__(self, config: Config) -> StepTimes:
        """Return a config's times.

        Raises:
            UserError: a step failed.
        """
        values = _timed_as(config)
        path = self.folder / f"{self._key(values)}.json"
        if not self.again and (times := _remembered(path)) is not None:
            return times
        times = _time(StepTrial(config=values, data=self.data))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asdict(times)))
        return times

    def _key(self, config: dict) -> str:
        machine = self.resources
        parts = (
            *(machine.processor, machine.cores, machine.gpus, tf.__version__, keras.__version__),
            *(self.dataset.fingerprint(), json.dumps(config, sort_keys=True)),
        )
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _timed_as(config: Config) -> dict:
    """Return a config with random values of the same network, and without what takes no time."""
    values = config.model_dump(mode="json")
    for section in _WITHOUT_EFFECT:
        values[section] = Config().model_dump(mode="json")[section]
    model = values["model"]
    if model["weights"] != "none" and model["batchnorm"] == "auto":
        model["batchnorm"] = "frozen"
    model |= {"weights": "none", "init_from": None}
    return values


def _remembered(path: Path) -> StepTimes | None:
    try:
        return StepTimes(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _time(trial: StepTrial) -> StepTimes:
    process = subprocess.run(
        [sys.executable, "-m", "keras_retinanet.training.planning.step_trial"],
        input=as_json(trial),
        capture_output=True,
        text=True,
    )
    if process.returncode:
        lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        raise UserError(f"a training step to be timed failed: {lines[-1]}")
    return StepTimes(**json.loads(process.stdout.strip().splitlines()[-1]))


def _default_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "keras_retinanet" / "step_times"
