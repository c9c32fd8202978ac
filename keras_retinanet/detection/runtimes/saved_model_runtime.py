"""The runtime of exported SavedModels: TensorFlow, with nothing of the Keras model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.data.images.decoding import decode_at_once
from keras_retinanet.detection.detector import Detector
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.manifest import LABELS_FILE, read_manifest
from keras_retinanet.detection.runtimes.raw import RawDetector
from keras_retinanet.detection.runtimes.served import ServedDetector
from keras_retinanet.errors import WeightsError

ENCODED_IMAGES = "encoded_images"
# The kinds of signatures, best first: files of all sizes go into one request.
_PREFERENCE = (ENCODED_IMAGES, "tf_examples", "images", "model_garden", "network_inputs")
ENCODED_IMAGE_KEY = "image/encoded"


def open_signatures(folder: Path) -> dict[str, Detector]:
    """Return a detector for each signature of a SavedModel that `retinanet export` wrote.

    The first is the one to take: it takes image files, unless there is no such signature.

    Raises:
        WeightsError: it is not such a folder, or it is damaged.
    """
    settings, contracts = read_contracts(folder)
    try:
        loaded = tf.saved_model.load(str(folder))
        names = sorted(contracts, key=lambda name: _PREFERENCE.index(contracts[name]["kind"]))
        functions = {name: loaded.signatures[name] for name in names}
    except Exception as error:  # protocol buffers', TensorFlow's and the file system's
        first_line = (str(error).strip() or repr(error)).splitlines()[0]
        raise WeightsError(f"{folder} cannot be loaded: {first_line}") from error
    detectors: dict[str, Detector] = {}
    for name, function in functions.items():
        if contracts[name]["kind"] == "network_inputs":
            ((key, spec),) = contracts[name]["inputs"].items()
            detectors[name] = RawDetector(
                _Raw(loaded, function, key),
                settings,
                one_by_one=spec["shape"][0] == 1,
            )
        else:
            detectors[name] = SavedModelDetector(loaded, function, contracts[name], settings)
    return detectors


def read_contracts(folder: Path) -> tuple[DetectorSettings, dict[str, dict[str, Any]]]:
    """Return the settings of the model that was exported, and what each signature takes and gives;
    the model itself is not loaded.

    Raises:
        WeightsError: it is no folder that `retinanet export` wrote, or it is damaged.
    """
    manifest = read_manifest(folder)
    class_names = _labels(folder / "assets" / LABELS_FILE)
    try:
        contracts = manifest["contract"]["signatures"]
        content = {**manifest["inference"], "class_names": class_names}
        return DetectorSettings.from_json(content), contracts
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{folder} cannot be loaded: its manifest lacks {error}") from error


class _Raw:
    """A signature without NMS as a function of images."""

    def __init__(self, loaded: Any, function: Callable, key: str) -> None:
        self._loaded, self._function, self._key = loaded, function, key

    def __call__(self, images: np.ndarray) -> dict[str, Any]:
        return self._function(**{self._key: tf.constant(images)})


class SavedModelDetector(ServedDetector):
    """A signature with detections.

    Args:
        loaded: the SavedModel, which has to live as long as its functions.
        function: the signature.
        contract: what the manifest says of it.
        settings: of the model that was exported.
    """

    def __init__(
        self,
        loaded: Any,
        function: Callable,
        contract: dict[str, Any],
        settings: DetectorSettings,
    ) -> None:
        super().__init__(
            settings,
            first_class=contract["first_class"],
            one_by_one=contract["kind"] in ("images", "model_garden"),
            cuts_tiles=contract.get("cuts_tiles", False),  # one of version 0.1.0 does not
        )
        self._loaded = loaded
        self._serve = function
        self._contract = contract

    @property
    def takes_files(self) -> bool:
        """Whether a request holds the bytes of image files, as they are."""
        return self._contract["kind"] == ENCODED_IMAGES

    def serve(self, files: list[bytes]) -> dict[str, np.ndarray]:
        ((name, _),) = self._contract["inputs"].items()
        request = REQUESTS[self._contract["kind"]](files)
        return {key: value.numpy() for key, value in self._serve(**{name: request}).items()}


def _labels(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise WeightsError(f"there are no labels {path}: export the model again")
    return tuple(path.read_text(encoding="utf-8").split("\n")[:-1])


def _examples(files: list[bytes]) -> tf.Tensor:
    def example(file: bytes) -> bytes:
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))
        features = tf.train.Features(feature={ENCODED_IMAGE_KEY: feature})
        return tf.train.Example(features=features).SerializeToString()

    return tf.constant([example(file) for file in files])


# By a signature's kind: the tensor of a request for image files.
REQUESTS = {
    "encoded_images": tf.constant,
    "tf_examples": _examples,
    "images": lambda files: tf.constant(decode_at_once(files[0])[None]),
    "model_garden": lambda files: tf.constant(decode_at_once(files[0])[None]),
}
