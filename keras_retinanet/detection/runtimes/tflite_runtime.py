"""The runtime of TFLite files that `retinanet export` wrote: LiteRT, or TensorFlow's own."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.detection.detector import Detections, NetworkDetector
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.manifest import LABELS_FILE
from keras_retinanet.detection.runtimes.tflite_file import (
    DETECTION_OUTPUTS,
    INFERENCE_FILE,
    RAW_OUTPUTS,
    SIGNATURE,
    read_file,
)
from keras_retinanet.errors import UserError, WeightsError
from keras_retinanet.geometry.postprocess import decode_detections
from keras_retinanet.system.silence import silence

# Keeps the logit of a score of 0 or 1 finite.
_SMALLEST = 1e-7


class TFLiteDetector(NetworkDetector):
    """A TFLite file, fed with stretched images as its clients do.

    Args:
        num_threads: by default as many as there are cores.

    Raises:
        WeightsError: the file is damaged, or not made by `retinanet export`.
        UserError: nothing is installed that runs it.
    """

    def __init__(self, path: Path, *, num_threads: int | None = None) -> None:
        content = path.read_bytes()
        self._settings = DetectorSettings.from_json(json.loads(read_file(content, INFERENCE_FILE)))
        self.class_names = tuple(read_file(content, LABELS_FILE).decode().split("\n")[:-1])
        self.inference, self.tiling = self._settings.inference, self._settings.tiling
        self.input_policy = self._settings.input_policy
        try:
            with silence("the TFLite interpreter"):
                self._interpreter = _interpreter_class()(
                    model_content=content, num_threads=num_threads or os.cpu_count()
                )
                self._interpreter.allocate_tensors()
            self._run = self._interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            first_line = (str(error).strip() or repr(error)).splitlines()[0]
            raise WeightsError(
                f"{path} cannot be loaded as a TFLite model: {first_line}"
            ) from error
        self._input_type = self._run.get_input_details()["image"]["dtype"]

    def __call__(self, images: np.ndarray, sizes: np.ndarray) -> Detections:
        found = [self._one(image) for image in images]
        return {name: np.stack([each[name] for each in found]) for name in found[0]}

    def _one(self, image: np.ndarray) -> Detections:
        outputs = self._run(image=image[None].astype(self._input_type))
        if outputs.keys() >= set(RAW_OUTPUTS):
            scores, deltas = (outputs[name] for name in RAW_OUTPUTS)
            return self._decoded(scores, deltas, image.shape)
        boxes, classes, scores, count = (outputs[name][0] for name in DETECTION_OUTPUTS)
        height, width = image.shape[:2]
        return {
            "boxes": boxes[:, [1, 0, 3, 2]] * np.array([width, height] * 2, np.float32),
            "scores": scores,
            "classes": np.round(classes).astype(np.int32),
            "num_detections": np.int32(round(float(count))),
        }

    def _decoded(self, scores: np.ndarray, deltas: np.ndarray, shape: tuple) -> Detections:
        settings = self._settings
        height, width = shape[:2]
        scores = np.clip(scores.astype(np.float64), _SMALLEST, 1.0 - _SMALLEST)
        logits = np.log(scores / (1.0 - scores)).astype(np.float32)
        found = decode_detections(
            {"class_logits": tf.constant(logits), "box_deltas": tf.constant(deltas)},
            anchors=settings.anchor_generator(height, width),
            num_anchors_per_level=settings.anchor_generator.num_anchors_per_level(height, width),
            image_sizes=tf.constant([[height, width]]),
            box_coder=settings.box_coder,
            inference=settings.inference,
        )
        return {name: value[0].numpy() for name, value in found.items()}


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter
    except ImportError:
        pass
    if not hasattr(tf, "lite"):
        raise UserError("TFLite files need a runtime: pip install ai-edge-litert")
    warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
    return tf.lite.Interpreter
