"""The runtime of exported SavedModels: TensorFlow, with nothing of the Keras model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.data.image_bytes import read_image
from keras_retinanet.data.image_files import decode_image
from keras_retinanet.detectors.detector import Detections
from keras_retinanet.errors import WeightsError
from keras_retinanet.export.manifest import LABELS_FILE, read_manifest

# The signatures that give detections, best first: files of all sizes go into one request.
_PREFERRED_INPUTS = ("encoded_images", "tf_examples", "images")
ENCODED_IMAGE_KEY = "image/encoded"


class SavedModelDetector:
    """A SavedModel that `retinanet export` wrote, through one of its signatures.

    Args:
        folder: the version folder, with its manifest.json.
        signature: a name; by default the first that takes image files.

    Raises:
        WeightsError: it is not such a folder, or has no such signature.
    """

    def __init__(self, folder: Path, signature: str | None = None) -> None:
        manifest = read_manifest(folder)
        signatures = manifest["contract"]["signatures"]
        name = signature or _preferred(folder, signatures)
        if name not in signatures:
            raise WeightsError(f"{folder} has no signature {name!r}, but {', '.join(signatures)}")
        self._contract = signatures[name]
        self.class_names = _labels(folder / "assets" / LABELS_FILE)
        try:
            # What is loaded lives as long as its functions are in use.
            self._loaded = tf.saved_model.load(str(folder))
        except Exception as error:  # protocol buffers', TensorFlow's and the file system's
            first_line = (str(error).strip() or repr(error)).splitlines()[0]
            raise WeightsError(
                f"{folder} cannot be loaded as a SavedModel: {first_line}"
            ) from error
        self._serve = self._loaded.signatures[name]

    def detect_files(
        self,
        image_paths: Sequence[str],
        heights: np.ndarray,
        widths: np.ndarray,
        *,
        batch_size: int = 8,
    ) -> Iterator[tuple[int, Detections]]:
        one_by_one = self._contract["kind"] == "images"  # each has a size of its own
        step = 1 if one_by_one else batch_size
        for start in range(0, len(image_paths), step):
            index = range(start, min(start + step, len(image_paths)))
            served = self._serve_files([read_image(image_paths[i]) for i in index])
            for row, i in enumerate(index):
                yield i, self._detections(served, row, heights[i], widths[i])

    def _serve_files(self, files: list[bytes]) -> dict[str, np.ndarray]:
        ((name, _),) = self._contract["inputs"].items()
        request = REQUESTS[self._contract["kind"]](files)
        return {key: value.numpy() for key, value in self._serve(**{name: request}).items()}

    def _detections(self, served: dict, row: int, height: int, width: int) -> Detections:
        count = int(served["num_detections"][row])
        boxes = served["detection_boxes"][row, :count] * np.array([height, width] * 2)
        classes = served["detection_classes"][row, :count].astype(np.int32)
        return {
            "boxes": boxes[:, [1, 0, 3, 2]],
            "scores": served["detection_scores"][row, :count],
            "classes": classes - self._contract["first_class"],
        }


def _labels(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise WeightsError(f"there are no labels {path}: export the model again")
    return tuple(path.read_text(encoding="utf-8").split("\n")[:-1])


def _preferred(folder: Path, signatures: dict[str, Any]) -> str:
    for kind in _PREFERRED_INPUTS:
        for name, signature in signatures.items():
            if signature["kind"] == kind:
                return name
    raise WeightsError(f"{folder} has no signature that takes images")


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
    "images": lambda files: decode_image(files[0])[None],
}
