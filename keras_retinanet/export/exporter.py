"""What every format of export is: how it is written, opened again, and how far it may differ."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from keras_retinanet.detection.detector import Detector
from keras_retinanet.export.verify import Tolerance
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import copy_for_inference


@dataclass(frozen=True)
class Written:
    """What an exporter says of the files it has written.

    Attributes:
        contract: what a client has to know, for the manifest: signatures with their inputs and
            outputs, as JSON.
        weights_bytes: what the weights take at the least; files that are smaller have lost some.
        reference: the model that the export is compared with, where that is not the one given.
    """

    contract: dict[str, Any]
    weights_bytes: int
    reference: RetinaNet | None = None


class Exporter(Protocol):
    """A format with its settings: a frozen dataclass whose fields `retinanet export` can set."""

    format: ClassVar[str]

    @property
    def tolerance(self) -> Tolerance:
        """How far the export's detections may be from the model's."""
        ...

    def write(self, model: RetinaNet, folder: Path) -> Written:
        """Write the model into an empty folder, with its labels.

        Raises:
            WeightsError: what was written is broken.
        """
        ...

    def detectors(self, folder: Path) -> dict[str, Detector]:
        """Return every way to run what was written, by name; the first is `load_detector`'s."""
        ...


def as_float32(model: RetinaNet) -> RetinaNet:
    """Return a model that computes in float32: a copy, if it was trained in mixed precision."""
    if {layer.compute_dtype for layer in model.layers} == {"float32"}:
        return model
    return copy_for_inference(model, dtype="float32")


def weights_bytes(model: RetinaNet, bytes_per_value: int = 4) -> int:
    """Return the bytes that the model's weights take."""
    return sum(math.prod(weight.shape) for weight in model.weights) * bytes_per_value
