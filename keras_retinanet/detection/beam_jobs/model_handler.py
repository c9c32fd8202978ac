"""An exported SavedModel as Beam's RunInference takes models: image files in, detections out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.runtimes.saved_model_runtime import (
    ENCODED_IMAGES,
    SavedModelDetector,
    open_signatures,
    read_contracts,
)
from keras_retinanet.errors import ConfigError

# A batch's images are decoded at once.
MAX_BATCH = 32

# "detection_boxes" and the others of one image, without the batch's dimension.
Served = dict[str, np.ndarray]


class SavedModelHandler(ModelHandler[bytes, Served, SavedModelDetector]):
    """The signature of a SavedModel that takes image files.

    Beam's own handlers of TensorFlow load Keras models or call `serving_default` with arrays: an
    export of Keras 3 is neither.

    Args:
        folder: the version of the export, where each worker finds it.
        max_batch_size: Beam makes batches up to this size, larger ones where they are faster.
    """

    def __init__(self, folder: str | Path, *, max_batch_size: int = MAX_BATCH) -> None:
        super().__init__(min_batch_size=1, max_batch_size=max_batch_size)
        self._folder = str(folder)

    def load_model(self) -> SavedModelDetector:
        """Return the detector; Beam calls this once a process.

        Raises:
            WeightsError: the folder is no such export.
            ConfigError: it has no signature for image files.
        """
        return load_served(Path(self._folder))

    def run_inference(
        self,
        batch: Sequence[bytes],
        model: SavedModelDetector,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[Served]:
        """Yield what is served for each image file."""
        served = model.serve(list(batch))
        for row in range(len(batch)):
            yield {name: values[row] for name, values in served.items()}

    def get_num_bytes(self, batch: Sequence[bytes]) -> int:
        return sum(map(len, batch))

    def get_metrics_namespace(self) -> str:
        return "retinanet"


def read_served(folder: Path) -> tuple[DetectorSettings, int]:
    """Return the settings of an export and the number of its first class, without loading it;
    raises as `SavedModelHandler.load_model`."""
    settings, contracts = read_contracts(folder)
    for contract in contracts.values():
        if contract["kind"] != ENCODED_IMAGES:
            continue
        if settings.tiling.size is not None and not contract.get("cuts_tiles"):
            raise ConfigError(
                f"{folder} was exported before graphs could cut images into the tiles of this "
                "model: export it again"
            )
        return settings, contract["first_class"]
    raise ConfigError(f"{folder} has no signature that takes image files: export it without --raw")


def load_served(folder: Path) -> SavedModelDetector:
    """Return the detector of the signature that takes image files; raises as
    `SavedModelHandler.load_model`."""
    read_served(folder)
    return next(
        detector
        for detector in open_signatures(folder).values()
        if isinstance(detector, SavedModelDetector) and detector.takes_files
    )
