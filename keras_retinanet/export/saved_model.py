"""Export as a SavedModel for TensorFlow Serving: image in, detections out, nothing else needed."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import tensorflow as tf

from keras_retinanet.boxes import xyxy_to_yxyx_normalized
from keras_retinanet.data.image_files import decode_image
from keras_retinanet.data.pipeline import preprocess
from keras_retinanet.detectors.detector import Detector
from keras_retinanet.detectors.saved_model import ENCODED_IMAGE_KEY, SavedModelDetector
from keras_retinanet.export.exporter import Written, weights_bytes
from keras_retinanet.export.verify import FLOAT32, Tolerance
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.postprocess import detect

Tensor = Any

# By signature, what its input holds.
KINDS = {
    "serving_default": "images",
    "serve_bytes": "encoded_images",
    "serve_tf_example": "tf_examples",
}


@dataclass(frozen=True)
class SavedModelExporter:
    """Writes saved_model.pb with these signatures, for images of any size, any number per request:

    - serving_default: "input_tensor" uint8 [N, H, W, 3] RGB;
    - serve_bytes: "image_bytes" string [N], JPEG, PNG, GIF or BMP files, each of its own size;
    - serve_tf_example: "examples" string [N], tf.Example protos with "image/encoded".

    All return "detection_boxes" float32 [N, K, 4] ymin, xmin, ymax, xmax as shares of the image's
    sides, "detection_scores" float32 [N, K] descending, "detection_classes" int32 [N, K], 0-based:
    line c of assets/labels.txt counted from 0, and "num_detections" int32 [N]; K is the model's
    `max_detections`, and unused places hold zeros.
    """

    format: ClassVar[str] = "saved_model"

    @property
    def tolerance(self) -> Tolerance:
        return FLOAT32

    def write(self, model: RetinaNet, folder: Path) -> Written:
        _write(model, folder)
        signatures = tf.saved_model.load(str(folder)).signatures
        return Written(
            contract={
                "signatures": {
                    name: {"kind": kind, "first_class": 0, **_describe(signatures[name])}
                    for name, kind in KINDS.items()
                }
            },
            weights_bytes=weights_bytes(model),
        )

    def detectors(self, folder: Path) -> dict[str, Detector]:
        return {
            name: SavedModelDetector(folder, name)
            for name in ("serve_bytes", "serving_default", "serve_tf_example")
        }


def _describe(signature: Any) -> dict[str, Any]:
    def plain(specs: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
            for name, spec in sorted(specs.items())
        }

    return {
        "inputs": plain(signature.structured_input_signature[1]),
        "outputs": plain(signature.structured_outputs),
    }


def _write(model: RetinaNet, path: Path) -> None:
    module = tf.Module()
    # The graph's variables, held once; the Keras model itself would add its Python parts.
    module.model_variables = [variable.value for variable in model.variables]
    # The text travels with the SavedModel as assets/labels.txt.
    labels = path.parent / f"{path.name}.labels" / "labels.txt"
    labels.parent.mkdir(parents=True, exist_ok=True)
    try:
        labels.write_text("".join(f"{name}\n" for name in model.class_names), encoding="utf-8")
        module.labels = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(module, str(path), signatures=_signatures(model))
    finally:
        shutil.rmtree(labels.parent, ignore_errors=True)


def _signatures(model: RetinaNet) -> dict[str, Any]:
    square = [int(side) for side in model.input_policy.canvas_size(1, 1)]

    def serving_default(input_tensor: Tensor) -> dict[str, Tensor]:
        images, size = preprocess(_checked_images(input_tensor), model.input_policy)
        sizes = tf.tile(size[None], (tf.shape(images)[0], 1))
        return _served(detect(model, images, sizes), sizes)

    def serve_bytes(image_bytes: Tensor) -> dict[str, Tensor]:
        if model.input_policy.resize != "square":
            # Sizes differ, and one canvas for all would let an image's padding, and with it its
            # detections, depend on the other images of the request.
            return tf.map_fn(
                lambda file: {
                    k: v[0] for k, v in serving_default(decode_image(file)[None]).items()
                },
                image_bytes,
                fn_output_signature=_output_signature(model),
            )
        images, sizes = tf.map_fn(
            lambda file: preprocess(decode_image(file), model.input_policy),
            image_bytes,
            fn_output_signature=(
                tf.TensorSpec((*square, 3), tf.uint8),
                tf.TensorSpec((2,), tf.int32),
            ),
        )
        return _served(detect(model, images, sizes), sizes)

    def serve_tf_example(examples: Tensor) -> dict[str, Tensor]:
        features = {ENCODED_IMAGE_KEY: tf.io.FixedLenFeature((), tf.string)}
        return serve_bytes(tf.io.parse_example(examples, features)[ENCODED_IMAGE_KEY])

    # TensorFlow names a function in its errors after the signature, if given one by that name.
    return {
        serve.__name__: tf.function(serve, input_signature=[spec], autograph=False)
        for serve, spec in (
            (serving_default, tf.TensorSpec((None, None, None, 3), tf.uint8, "input_tensor")),
            (serve_bytes, tf.TensorSpec((None,), tf.string, "image_bytes")),
            (serve_tf_example, tf.TensorSpec((None,), tf.string, "examples")),
        )
    }


def _checked_images(images: Tensor) -> Tensor:
    """Return the images, after a check of their shape when the graph runs."""
    # Without a static shape, which would let TensorFlow settle the check when the graph is made.
    unchecked = tf.raw_ops.PlaceholderWithDefault(input=images, shape=tf.TensorShape(None))
    shape = tf.shape(unchecked)
    is_right = tf.logical_and(tf.equal(tf.size(shape), 4), tf.equal(shape[-1], 3))
    message = "serving_default: input_tensor must be uint8 [N, H, W, 3], but its shape is"
    with tf.control_dependencies([tf.debugging.Assert(is_right, [message, shape])]):
        checked = tf.identity(unchecked)
    return tf.ensure_shape(checked, (None, None, None, 3))


def _served(detections: dict[str, Tensor], sizes: Tensor) -> dict[str, Tensor]:
    """Return detections [N, K] under the names that are served, boxes as shares of the image."""
    height, width = (tf.cast(sizes[:, i : i + 1], tf.float32) for i in range(2))
    return {
        "detection_boxes": xyxy_to_yxyx_normalized(detections["boxes"], height, width),
        "detection_scores": detections["scores"],
        "detection_classes": detections["classes"],
        "num_detections": detections["num_detections"],
    }


def _output_signature(model: RetinaNet) -> dict[str, tf.TensorSpec]:
    count = model.max_detections
    return {
        "detection_boxes": tf.TensorSpec((count, 4), tf.float32),
        "detection_scores": tf.TensorSpec((count,), tf.float32),
        "detection_classes": tf.TensorSpec((count,), tf.int32),
        "num_detections": tf.TensorSpec((), tf.int32),
    }
