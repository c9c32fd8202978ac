"""The signatures of an exported SavedModel: requests in, detections out. TensorFlow."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.batches import preprocess
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.runtimes.saved_model_runtime import ENCODED_IMAGE_KEY
from keras_retinanet.errors import ConfigError
from keras_retinanet.export.frozen import Sides
from keras_retinanet.export.saved_model.request_batches import by_canvas, prepared
from keras_retinanet.export.saved_model.request_images import decode_request
from keras_retinanet.export.saved_model.tiled_requests import detect_in_tiles
from keras_retinanet.geometry.boxes import xyxy_to_yxyx_normalized
from keras_retinanet.geometry.postprocess import detections_of, with_binary_logits

Network = Callable[[Tensor], dict[str, Tensor]]

# By what their input holds, the names of the signatures.
SIGNATURES = {
    "images": "serving_default",
    "encoded_images": "serve_bytes",
    "tf_examples": "serve_tf_example",
    "model_garden": "serve_model_garden",
}
# Of these kinds, those that take files, and cut images where the model does.
FILE_KINDS = ("encoded_images", "tf_examples")
RAW_VARIANTS = ("dynamic", "fixed")
# The Object Detection API's classes count from 1; its label maps keep 0 for the background.
MODEL_GARDEN_FIRST_CLASS = 1


def detection_signatures(
    network: Network, inference: DetectorSettings, *, names: dict[str, str], max_pixels: int
) -> dict[str, Any]:
    """Return tf.functions from requests to detections, by the names that `names` gives the kinds.

    Args:
        network: images [B, H, W, 3] -> outputs, as `freeze` gives it; H and W as `input_sides`.
        max_pixels: image files with more are not decoded.
    """
    server = _Server(network, inference, max_pixels)

    def images(input_tensor: Tensor) -> dict[str, Tensor]:
        return server.of_images(_checked(input_tensor, names["images"]))

    def encoded_images(image_bytes: Tensor) -> dict[str, Tensor]:
        return server.of_files(image_bytes)

    def tf_examples(examples: Tensor) -> dict[str, Tensor]:
        features = {ENCODED_IMAGE_KEY: tf.io.FixedLenFeature((), tf.string, default_value="")}
        return server.of_files(tf.io.parse_example(examples, features)[ENCODED_IMAGE_KEY])

    def model_garden(input_tensor: Tensor) -> dict[str, Tensor]:
        found = server.of_images(_checked(input_tensor, names["model_garden"]))
        classes = found["detection_classes"] + MODEL_GARDEN_FIRST_CLASS
        found = {**found, "detection_classes": classes}
        return {name: tf.cast(value, tf.float32) for name, value in found.items()}

    pixels = tf.TensorSpec((None, None, None, 3), tf.uint8, "input_tensor")
    return {
        names[serve.__name__]: _signature(serve, names[serve.__name__], spec)
        for serve, spec in (
            (images, pixels),
            (encoded_images, tf.TensorSpec((None,), tf.string, "image_bytes")),
            (tf_examples, tf.TensorSpec((None,), tf.string, "examples")),
            (model_garden, pixels),
        )
        if serve.__name__ in names
    }


def raw_signature(network: Network, inference: DetectorSettings, *, fixed: bool) -> Any:
    """Return the tf.function from the network's inputs to its outputs, without NMS.

    Takes "images" [N, H, W, 3], uint8 or as the policy has pixels, scaled and padded as it says;
    with `fixed` of one size, [1, H, W, 3], which is the policy's square. Gives "class_logits" and
    "scores" [N, A, K], "box_deltas" [N, A, 4], and "boxes" [N, A, 4], xyxy in pixels of the input,
    not clipped.

    Raises:
        ConfigError: `fixed`, and the model's inputs have many sizes.
    """
    shape = (1, *fixed_sides(inference), 3) if fixed else (None, None, None, 3)

    def raw(images: Tensor) -> dict[str, Tensor]:
        outputs = with_binary_logits(network(images), inference)
        anchors = inference.anchor_generator(*_sides(images))
        return {
            **outputs,
            "scores": tf.sigmoid(outputs["class_logits"]),
            "boxes": inference.box_coder.decode(outputs["box_deltas"], anchors),
        }

    spec = tf.TensorSpec(shape, inference.input_policy.pixels, "images")
    return _signature(raw, SIGNATURES["images"], spec)


def input_sides(inference: DetectorSettings) -> Sides:
    """Return the height and width of the network's inputs; None where images have many."""
    if not inference.input_policy.has_one_canvas:
        return None, None
    height, width = inference.input_policy.canvas_size(1, 1)
    return int(height), int(width)


def fixed_sides(inference: DetectorSettings) -> tuple[int, int]:
    """Return `input_sides` for `--raw fixed`.

    Raises:
        ConfigError: the model's inputs have many sizes.
    """
    height, width = input_sides(inference)
    if height is None or width is None:
        raise ConfigError(
            "--raw fixed needs a model whose inputs have one size: with image.resize=shorter_side "
            "they have many, take --raw dynamic"
        )
    return height, width


def describe(function: Any) -> dict[str, Any]:
    """Return the input and the outputs of a concrete function as JSON."""
    (spec,), _ = function.structured_input_signature
    outputs = sorted(function.structured_outputs.items())
    return {
        "inputs": {spec.name: _plain(spec)},
        "outputs": {name: _plain(output) for name, output in outputs},
    }


def served_detections(detections: dict[str, Tensor], sizes: Tensor) -> dict[str, Tensor]:
    """Return detections [N, K] under the names that are served, boxes as shares of the image."""
    height, width = (tf.cast(sizes[:, i : i + 1], tf.float32) for i in range(2))
    return {
        "detection_boxes": xyxy_to_yxyx_normalized(detections["boxes"], height, width),
        "detection_scores": detections["scores"],
        "detection_classes": detections["classes"],
        "num_detections": detections["num_detections"],
    }


class _Server:
    """What all signatures share: from images or files of a request to the outputs served."""

    def __init__(self, network: Network, inference: DetectorSettings, max_pixels: int) -> None:
        self._inference = inference
        self._policy = inference.input_policy
        self._canvas = (*input_sides(inference), 3)
        self._max_pixels = max_pixels

        def detect_in_inputs(inputs: Tensor, sizes: Tensor) -> dict[str, Tensor]:
            outputs = with_binary_logits(network(inputs), inference)
            return detections_of(inference, outputs, *_sides(inputs), sizes)

        def detect(inputs: Tensor, sizes: Tensor) -> dict[str, Tensor]:
            count = tf.shape(inputs)[0]
            inputs, sizes = _at_least_one(inputs, sizes)
            served = served_detections(detect_in_inputs(inputs, sizes), sizes)
            return {name: value[:count] for name, value in served.items()}

        spec = [
            tf.TensorSpec((None, *self._canvas), self._policy.pixels),
            tf.TensorSpec((None, 2), tf.int32),
        ]
        self._detect, self._detect_in_inputs = (
            tf.function(function, input_signature=spec, autograph=False)
            for function in (detect, detect_in_inputs)
        )

    def of_images(self, images: Tensor) -> dict[str, Tensor]:
        """Return what is served for images uint8 [N, H, W, 3]."""
        inputs, size = preprocess(images, self._policy)
        inputs = tf.ensure_shape(inputs, (None, *self._canvas))
        return self._detect(inputs, tf.tile(size[None], (tf.shape(inputs)[0], 1)))

    def of_files(self, files: Tensor) -> dict[str, Tensor]:
        """Return what is served for image files, string [N], with "is_valid"."""
        if self._inference.tiling.size is not None:
            return self._of_files_in_tiles(files)
        if self._policy.has_one_canvas:
            return self._of_files_at_once(files)
        # Sizes differ, and one canvas for all would let an image's padding, and with it its
        # detections, depend on the other images of the request.
        inputs, sizes, is_valid = prepared(files, self._one_input, self._policy.pixels)
        canvases = tf.stack(self._policy.canvas_size(sizes[:, 0], sizes[:, 1]), axis=1)
        signature = _output_signature(self._inference)
        found = by_canvas(inputs, sizes, canvases, self._detect, signature)
        return _with_validity(found, is_valid)

    def _of_files_at_once(self, files: Tensor) -> dict[str, Tensor]:
        inputs, sizes, is_valid = tf.map_fn(
            self._one_input,
            files,
            fn_output_signature=(
                tf.TensorSpec(self._canvas, self._policy.pixels),
                tf.TensorSpec((2,), tf.int32),
                tf.TensorSpec((), tf.bool),
            ),
        )
        return _with_validity(self._detect(inputs, sizes), is_valid)

    def _of_files_in_tiles(self, files: Tensor) -> dict[str, Tensor]:
        def serve(file: Tensor) -> tuple[dict[str, Tensor], Tensor]:
            image, is_valid = decode_request(file, self._max_pixels)
            found = detect_in_tiles(image, self._inference, self._detect_in_inputs)
            served = served_detections(found, tf.shape(image)[None, :2])
            return {name: value[0] for name, value in served.items()}, is_valid

        specs = _output_signature(self._inference), tf.TensorSpec((), tf.bool)
        # One image after the other: each fills the memory with its tiles.
        served, is_valid = tf.map_fn(serve, files, fn_output_signature=specs, parallel_iterations=1)
        return _with_validity(served, is_valid)

    def _one_input(self, file: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        image, is_valid = decode_request(file, self._max_pixels)
        return *preprocess(image, self._policy), is_valid


def _plain(spec: tf.TensorSpec) -> dict[str, Any]:
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}


def _sides(inputs: Tensor) -> tuple[Tensor | int, Tensor | int]:
    """Return the height and width of [N, H, W, 3], as numbers where the graph knows them."""
    known, found = inputs.shape[1:3], tf.shape(inputs)
    height, width = (found[1 + i] if known[i] is None else known[i] for i in range(2))
    return height, width


def _at_least_one(inputs: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Return a batch, and for an empty one a blank image.

    TensorFlow 2.21's convolutions refuse a map without images on CPUs with AMX.
    """
    return tf.cond(
        tf.shape(inputs)[0] > 0,
        lambda: (inputs, sizes),
        lambda: (tf.zeros((1, *_sides(inputs), 3), inputs.dtype), tf.ones((1, 2), sizes.dtype)),
    )


def _signature(serve: Callable, name: str, spec: tf.TensorSpec) -> Any:
    # TensorFlow names a function in its errors after the signature, if given one by that name.
    serve.__name__ = name
    return tf.function(serve, input_signature=[spec], autograph=False)


def _checked(images: Tensor, name: str) -> Tensor:
    """Return the images, after a check of their shape when the graph runs."""
    # Without a static shape, which would let TensorFlow settle the check when the graph is made.
    unchecked = tf.raw_ops.PlaceholderWithDefault(input=images, shape=tf.TensorShape(None))
    shape = tf.shape(unchecked)
    is_right = tf.logical_and(tf.equal(tf.size(shape), 4), tf.equal(shape[-1], 3))
    message = f"{name}: input_tensor must be uint8 [N, H, W, 3], but its shape is"
    with tf.control_dependencies([tf.debugging.Assert(is_right, [message, shape])]):
        checked = tf.identity(unchecked)
    return tf.ensure_shape(checked, (None, None, None, 3))


def _with_validity(served: dict[str, Tensor], is_valid: Tensor) -> dict[str, Tensor]:
    """Return the detections [N, ...] with none where there is no image, and which those are."""

    def kept(value: Tensor) -> Tensor:
        mask = tf.reshape(is_valid, [-1] + [1] * (value.shape.rank - 1))
        return tf.where(mask, value, tf.zeros_like(value))

    return {**{name: kept(value) for name, value in served.items()}, "is_valid": is_valid}


def _output_signature(inference: DetectorSettings) -> dict[str, tf.TensorSpec]:
    count = inference.inference.max_detections
    return {
        "detection_boxes": tf.TensorSpec((count, 4), tf.float32),
        "detection_scores": tf.TensorSpec((count,), tf.float32),
        "detection_classes": tf.TensorSpec((count,), tf.int32),
        "num_detections": tf.TensorSpec((), tf.int32),
    }
