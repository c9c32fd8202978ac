"""Export as TFLite: one file for phones and small boards, with labels, metadata and NMS inside."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.data.pipeline.canvas import fit_to_canvas
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.manifest import LABELS_FILE
from keras_retinanet.detection.runtimes.tflite_file import (
    ANCHORS_FILE,
    DETECTION_OUTPUTS,
    INFERENCE_FILE,
    RAW_OUTPUTS,
    SIGNATURE,
)
from keras_retinanet.errors import ConfigError
from keras_retinanet.export.calibration_images import calibration_inputs, refuse_no_images
from keras_retinanet.export.exporter import Exporter, Written, as_float32
from keras_retinanet.export.tflite.conversion import convert
from keras_retinanet.export.tflite.join import join, name_tensors, refuse_variables
from keras_retinanet.export.tflite.metadata import add_metadata
from keras_retinanet.export.tflite.network import INPUT_TYPES, QUANTIZATIONS, network_conversion
from keras_retinanet.export.tflite.postprocess_op import (
    POSTPROCESSINGS,
    join_postprocessing,
    postprocessing_conversions,
)
from keras_retinanet.export.verify import Tolerance
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.models.saving import copy_for_inference

logger = logging.getLogger(__name__)

_BYTES_PER_WEIGHT = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
# float32 differs by the order of sums. Below it weak detections come and go, so that the confident
# ones are judged.
_TOLERANCES = {
    "float32": Tolerance(box=0.1, score=1e-4, num_mismatches=0, ap_drop=1e-3),
    "float16": Tolerance(agreement=0.95, ap_drop=0.005),
    "dynamic": Tolerance(agreement=0.8, ap_drop=0.015),
    "int8": Tolerance(agreement=0.8, ap_drop=0.015),
}


@dataclass(frozen=True)
class TFLiteExporter(Exporter):
    """Writes model.tflite, for one image of a fixed square size at a time.

    Args:
        precision: see `network_conversion`.
        postprocessing: see `postprocessing_conversions`.
        input_type: "float32" or "uint8", 0...255 in both; None: uint8 with int8, else float32.
        input_size: side of the input; by default the size that the model was trained at.
        calibration_files: images to calibrate "int8" with.

    Raises:
        ConfigError: a setting is unknown.
        DataError: "int8" without calibration files.
    """

    format: ClassVar[str] = "tflite"
    model_file: ClassVar[str] = "model.tflite"

    precision: str = "float32"
    postprocessing: str = "op"
    input_type: str | None = None
    input_size: int | None = None
    calibration_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _refuse_unknown("--precision", self.precision, QUANTIZATIONS)
        _refuse_unknown("--postprocessing", self.postprocessing, POSTPROCESSINGS)
        if self.input_type is not None:
            _refuse_unknown("--input-type", self.input_type, INPUT_TYPES)
        if self.precision == "int8":
            refuse_no_images(self.calibration_files)

    @property
    def tolerance(self) -> Tolerance:
        return _TOLERANCES[self.precision]

    def as_clients_run_it(self, model: RetinaNet) -> RetinaNet:
        """Return the model in float32, with the resizing of TFLite's clients, which stretch.

        Parity and AP are measured so; a model trained with another resizing loses AP by it, which
        is no fault of the export, and is said.
        """
        policy = InputPolicy("stretch", size=self._side(model), pad_multiple=1)
        old, inference = model.input_policy, self._inference(model)
        is_stretched = old.resize == "stretch" and old.size == policy.size
        if is_stretched and inference == model.inference and old.pixels == policy.pixels:
            return as_float32(model)
        if not is_stretched:
            logger.warning(
                "the model was trained with image.resize=%s, image.size=%d; clients of TFLite "
                "files stretch images to %dx%d: AP is measured so (--data: what that costs), and "
                "image.resize=stretch trains for it",
                old.resize,
                old.size,
                policy.size,
                policy.size,
            )
        if inference != model.inference:
            logger.warning(
                "the model has inference.clip=%s, drop_empty=%s; a TFLite file cuts boxes to the "
                "image before NMS and drops empty ones: AP is measured so",
                model.inference.clip,
                str(model.inference.drop_empty).lower(),
            )
        return copy_for_inference(
            model, dtype="float32", inference=inference, input_policy=vars(policy)
        )

    def write(self, model: RetinaNet, folder: Path) -> Written:
        model = as_float32(model)
        side = self._side(model)
        input_type = self.input_type or ("uint8" if self.precision == "int8" else "float32")
        conversions = [
            network_conversion(
                model,
                height=side,
                width=side,
                quantization=self.precision,
                input_type=input_type,
                calibration_images=(
                    calibration_images(self.calibration_files, side)
                    if self.precision == "int8"
                    else ()
                ),
            ),
            *postprocessing_conversions(
                model, height=side, width=side, postprocessing=self.postprocessing
            ),
        ]
        network, *rest = convert(conversions, folder)
        tail = join_postprocessing(model, rest)
        outputs = RAW_OUTPUTS if self.postprocessing == "none" else DETECTION_OUTPUTS
        file = name_tensors(join(network, tail), input_name="image", output_names=outputs)
        refuse_variables(file)
        labels = "".join(f"{name}\n" for name in model.class_names).encode()
        file = add_metadata(
            file,
            name=model.name,
            description=f"RetinaNet ({model.backbone_name}, {self.precision})",
            height=side,
            width=side,
            outputs=outputs,
            files=self._files(model, side, labels),
        )
        (folder / self.model_file).write_bytes(file)
        (folder / LABELS_FILE).write_bytes(labels)
        return Written(
            contract=_contract(model, side, input_type, outputs),
            weights_bytes=_weights(model) * _BYTES_PER_WEIGHT[self.precision],
        )

    def _side(self, model: RetinaNet) -> int:
        if self.input_size is not None:
            return self.input_size
        policy = model.input_policy
        if not policy.has_one_canvas:
            raise ConfigError(
                f"a TFLite file has one input size, and the model was trained with image.resize="
                f"{policy.resize}: give --input-size, for example {policy.size}"
            )
        return int(policy.canvas_size(np.int32(1), np.int32(1))[0])

    def _inference(self, model: RetinaNet) -> InferenceSettings:
        """Return the settings that the file's post-processing has, or its clients, if it has none.

        It cuts boxes before NMS, since it moves the classes apart by the image's sides.
        """
        if self.postprocessing == "none":
            return model.inference
        return replace(model.inference, clip="before_nms", drop_empty=True)

    def _files(self, model: RetinaNet, side: int, labels: bytes) -> dict[str, bytes]:
        policy = InputPolicy("stretch", size=side, pad_multiple=1)
        settings = replace(
            DetectorSettings.of_model(model), input_policy=policy, inference=self._inference(model)
        ).as_json()
        files = {
            LABELS_FILE: labels,
            INFERENCE_FILE: json.dumps(settings, ensure_ascii=False).encode(),
        }
        if self.postprocessing == "none":
            files[ANCHORS_FILE] = np.asarray(
                model.anchor_generator(side, side), np.dtype("<f4")
            ).tobytes()
        return files


def _refuse_unknown(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"{option} must be one of {', '.join(known)} for tflite, not {value!r}")


def calibration_images(files: Sequence[str], side: int) -> list[np.ndarray]:
    """Return the files' images uint8 [side, side, 3], stretched as TFLite's clients do."""
    square = tf.constant([side, side])
    return calibration_inputs(files, lambda image: fit_to_canvas(image, square, side, side))


def _contract(model: RetinaNet, side: int, input_type: str, outputs: Sequence[str]) -> dict:
    count = model.inference.max_detections
    anchors = sum(model.anchor_generator.num_anchors_per_level(side, side))
    shapes = {
        "location": [1, count, 4],
        "category": [1, count],
        "score": [1, count],
        "number of detections": [1],
        "class_scores": [1, anchors, model.num_classes],
        "box_deltas": [1, anchors, 4],
    }
    return {
        "signatures": {
            SIGNATURE: {
                "inputs": {"image": {"dtype": input_type, "shape": [1, side, side, 3]}},
                "outputs": {name: {"dtype": "float32", "shape": shapes[name]} for name in outputs},
                "first_class": 0,
            }
        }
    }


def _weights(model: RetinaNet) -> int:
    """Return the number of weights that have to be in the file: batch normalisation is folded."""
    return sum(
        prod(weight.shape)
        for layer in model.layers
        if not isinstance(layer, keras.layers.BatchNormalization)
        for weight in layer.weights
    )
