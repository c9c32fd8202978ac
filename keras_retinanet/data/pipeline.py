"""The tf.data pipelines: from a DetectionDataset to training batches and evaluation inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.anchors import AnchorGenerator
from keras_retinanet.conventions import NEGATIVE_IOU, PAD_VALUE, POSITIVE_IOU
from keras_retinanet.data.augment import random_flip
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.image_bytes import image_reader
from keras_retinanet.data.image_files import decode_image
from keras_retinanet.data.plan import TrainingPlan
from keras_retinanet.input_policy import InputPolicy
from keras_retinanet.targets import match_anchors

Tensor = Any

# Label of the rows that fill gt_labels up.
NO_LABEL = -1


def training_batches(
    dataset: DetectionDataset,
    plan: TrainingPlan,
    *,
    anchor_generator: AnchorGenerator,
    positive_iou: float = POSITIVE_IOU,
    negative_iou: float = NEGATIVE_IOU,
    force_match: bool = False,
    horizontal_flip: bool = True,
    vertical_flip: bool = False,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Return an endless stream of batches (images, targets), `plan.steps_per_epoch` to an epoch.

    images: uint8 [B, H, W, 3], RGB. targets: "gt_boxes" float32 [B, M, 4] xyxy in pixels of the
    images, "gt_labels" int32 [B, M] and "matches" int32 [B, A]. M is the data set's largest number
    of objects in an image; rows are filled up with zeros and NO_LABEL. Crowds and difficult objects
    are not among them, and anchors in them are ignored.

    The same data set, plan and settings give the same batches.
    """

    def epoch(number: Tensor) -> tf.data.Dataset:
        names = ("index", "scaled_size", "canvas_size", "seed")
        arrays = tf.numpy_function(
            lambda n: [plan.epoch(int(n))[name] for name in names],
            [number],
            [tf.int64, tf.int32, tf.int32, tf.int32],
        )
        for array, columns in zip(arrays, ((), (2,), (2,), (2,)), strict=True):
            array.set_shape((None, *columns))
        return tf.data.Dataset.from_tensor_slices(dict(zip(names, arrays, strict=True)))

    load = _example_loader(dataset)
    # One row at least: images without any object still have something to gather from.
    max_objects = max(1, int(dataset.num_objects.max(initial=0)))

    def make(planned: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        example = load(planned["index"])
        example = random_flip(
            example, planned["seed"], horizontal=horizontal_flip, vertical=vertical_flip
        )
        height, width = tf.unstack(planned["canvas_size"])
        images = fit_to_canvas(example["image"], planned["scaled_size"], height, width)
        boxes = _scale_boxes(example, planned["scaled_size"])
        ignored = example["is_crowd"]
        gt_boxes = tf.boolean_mask(boxes, ~ignored)
        matches = match_anchors(
            gt_boxes,
            tf.boolean_mask(boxes, ignored),
            anchor_generator=anchor_generator,
            height=height,
            width=width,
            positive_iou=positive_iou,
            negative_iou=negative_iou,
            force_match=force_match,
        )
        gt_labels = tf.boolean_mask(example["labels"], ~ignored)
        return images, {
            "gt_boxes": _padded_rows(gt_boxes, max_objects, 0.0),
            "gt_labels": _padded_rows(gt_labels, max_objects, NO_LABEL),
            "matches": matches,
        }

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    return (
        epochs.flat_map(epoch)
        .map(make, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(plan.batch_size, drop_remainder=True, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def network_inputs(
    image_paths: list[str], heights: np.ndarray, widths: np.ndarray, input_policy: InputPolicy
) -> tf.data.Dataset:
    """Return the inputs of images for evaluation, ordered so that equal sizes follow each other.

    Elements: "index", "image" uint8 [H, W, 3] padded, "size" int32 [2] without padding.
    Images share a canvas only with images that need the same one: padding another image cannot
    change an image's detections.
    """
    scaled = np.stack(input_policy.scaled_size(heights, widths), axis=1)
    canvas = np.stack(input_policy.canvas_size(scaled[:, 0], scaled[:, 1]), axis=1)
    order = np.lexsort((np.arange(len(canvas)), canvas[:, 1], canvas[:, 0]))
    paths = tf.constant(image_paths, tf.string)
    read = image_reader(image_paths)

    def make(index: Tensor) -> dict[str, Tensor]:
        image, size = preprocess(decode_image(read(paths[index])), input_policy)
        return {"index": index, "image": image, "size": size}

    return (
        tf.data.Dataset.from_tensor_slices(order)
        .map(make, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def preprocess(images: Tensor, input_policy: InputPolicy) -> tuple[Tensor, Tensor]:
    """Return the network's input for uint8 images [..., H, W, 3], and its size [2] without padding.

    Evaluation, prediction and the exported model all scale images here.
    """
    shape = tf.shape(images)
    height, width = input_policy.scaled_size(shape[-3], shape[-2])
    canvas_height, canvas_width = input_policy.canvas_size(height, width)
    size = tf.stack([height, width])
    return fit_to_canvas(images, size, canvas_height, canvas_width), size


def fit_to_canvas(images: Tensor, size: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Scale uint8 images [..., H, W, 3] to `size` [2], and pad them at right and bottom.

    Bilinear without antialiasing, as Detectron did.
    """
    shape = tf.shape(images)[-3:-1]
    # The cast cuts, so that adding a half rounds.
    scaled = tf.cond(
        tf.reduce_all(shape == size),
        lambda: images,
        lambda: tf.cast(tf.image.resize(images, size, method="bilinear") + 0.5, tf.uint8),
    )
    paddings = [[0, 0]] * (images.shape.rank - 3)
    paddings += [[0, height - size[0]], [0, width - size[1]], [0, 0]]
    return tf.pad(scaled, paddings, constant_values=PAD_VALUE)


def _example_loader(dataset: DetectionDataset) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return a function from an image's index to its example."""
    paths = tf.constant(dataset.image_paths, tf.string)
    read = image_reader(dataset.image_paths)
    splits = tf.constant(dataset.row_splits)
    flat = {
        "boxes": tf.constant(dataset.boxes),
        "labels": tf.constant(dataset.labels),
        "is_crowd": tf.constant(dataset.is_crowd),
    }

    def load(index: Tensor) -> dict[str, Tensor]:
        start, end = splits[index], splits[index + 1]
        return {
            "image": decode_image(read(paths[index])),
            **{name: values[start:end] for name, values in flat.items()},
        }

    return load


def _scale_boxes(example: dict[str, Tensor], size: Tensor) -> Tensor:
    """Return the boxes of an example whose image is scaled to `size` [2]."""
    factors = tf.cast(size / tf.shape(example["image"])[:2], tf.float32)
    return example["boxes"] * tf.tile(factors[::-1], [2])


def _padded_rows(values: Tensor, num_rows: int, padding: float | int) -> Tensor:
    """Pad the first dimension of `values` to `num_rows`."""
    paddings = [[0, num_rows - tf.shape(values)[0]]] + [[0, 0]] * (values.shape.rank - 1)
    padded = tf.pad(values, paddings, constant_values=tf.cast(padding, values.dtype))
    return tf.ensure_shape(padded, (num_rows, *values.shape[1:]))
