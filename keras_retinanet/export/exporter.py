"""What every format of export is: how it is written, opened again, and how far it may differ."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from keras_retinanet.detection.detector import Detector
from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.export.verify import FLOAT32, Tolerance
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import copy_for_inference


@dataclass(frozen=True)
class Written:
    """What an exporter says of the files it has written.

    Attributes:
        contract: what a client has to know, for the manifest: signatures with their inputs and
            outputs, as JSON.
        weights_bytes: what the weights take at the least; files that are smaller have lost some.
    """

    contract: dict[str, Any]
    weights_bytes: int


@dataclass(frozen=True)
class Exporter(ABC):
    """A format with its settings: a frozen dataclass whose fields `retinanet export` can set.

    Attributes:
        format: its name in `retinanet export --format`.
        model_file: what `load_detector` opens in a version; "" where it is the folder itself.
    """

    format: ClassVar[str]
    model_file: ClassVar[str] = ""

    @property
    def tolerance(self) -> Tolerance:
        """How far the export's detections may be from the model's."""
        return FLOAT32

    def as_clients_run_it(self, model: RetinaNet) -> RetinaNet:
        """Return the model that the export is written from and compared with.

        By default it computes in float32, whatever precision it was trained in: trained weights are
        float32 under every policy, and lower precisions are settings of the formats.
        """
        return as_float32(model)

    @abstractmethod
    def write(self, model: RetinaNet, folder: Path) -> Written:
        """Write a model of any precision into an empty folder, with its labels.

        Raises:
            WeightsError: a converter fails, or what was written is broken.
        """

    def detectors(self, folder: Path) -> dict[str, Detector]:
        """Return every way to run what was written, by name; the first is `load_detector`'s."""
        return {self.model_file: load_detector(folder / self.model_file)}


def as_float32(model: RetinaNet) -> RetinaNet:
    """Return a model that computes in float32: a copy, if it was trained in mixed precision."""
    if {layer.compute_dtype for layer in model.layers} == {"float32"}:
        return model
    return copy_for_inference(model, dtype="float32")


def weights_bytes(model: RetinaNet, bytes_per_value: int = 4) -> int:
    """Return the bytes that the model's weights take."""
    return sum(math.prod(weight.shape) for weight in model.weights) * bytes_per_value
