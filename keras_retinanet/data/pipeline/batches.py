"""The tf.data pipelines: from a DetectionDataset to training batches and evaluation inputs."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import NEGATIVE_IOU, POSITIVE_IOU, Tensor
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.images.address import image_reader, reading_options
from keras_retinanet.data.images.decoding import decode_image
from keras_retinanet.data.pipeline.augment.recipe import NUM_TILES, augment
from keras_retinanet.data.pipeline.augment.settings import Augmentation
from keras_retinanet.data.pipeline.cache import ImageCache, cached_image
from keras_retinanet.data.pipeline.canvas import Resize, bilinear, fit_as
from keras_retinanet.data.pipeline.data_service import distributed, refuse_with_service
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.data.pipeline.plan_stream import planned_batches, planned_images
from keras_retinanet.data.pipeline.targets import Matching, make_targets
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy

NO_AUGMENTATION = Augmentation()
# Of a data set, what there is of every object.
_OBJECT_COLUMNS = ("boxes", "labels", "is_ignored")


def training_batches(
    dataset: DetectionDataset,
    plan: TrainingPlan,
    *,
    anchor_generator: AnchorGenerator | None = None,
    positive_iou: float = POSITIVE_IOU,
    negative_iou: float = NEGATIVE_IOU,
    force_match: bool | str = False,
    matching: Matching | None = None,
    horizontal_flip: bool = True,
    vertical_flip: bool = False,
    augmentation: Augmentation = NO_AUGMENTATION,
    cache: ImageCache | None = None,
    first_epoch: int = 0,
    first_step: int = 0,
    num_epochs: int | None = None,
    worker: int = 0,
    num_workers: int = 1,
    images_per_batch: int | None = None,
    data_service: str | None = None,
) -> tf.data.Dataset:
    """Return an endless stream of batches (images, targets), `plan.steps_per_epoch` to an epoch.

    images: uint8 [B, H, W, 3], RGB. targets: "gt_boxes" float32 [B, M, 4] xyxy in pixels of the
    images, "gt_labels" int32 [B, M] and "matches" int32 [B, A]. M is the largest number of objects
    that an image can have; rows are filled up with zeros and NO_LABEL. Crowds, difficult and cut
    objects are not among them, and anchors in them are ignored.

    The same data set, plan and settings give the same batches.

    Args:
        anchor_generator: the plan's, if None.
        positive_iou, negative_iou, force_match, matching: see `make_targets`.
        augmentation: what is done beside flips and the plan's sizes; mosaics and mixup happen where
            the plan gives images partners.
        cache: keeps decoded images for later epochs.
        first_epoch, first_step: where the stream begins: the batches from there on are the same as
            those of a stream from the start.
        num_epochs: the stream ends before this epoch. Needed with a data service.
        worker, num_workers: the stream has this worker's equal share of each of the plan's batches.
        images_per_batch: a worker's share comes in pieces of so many images, one for each of its
            replicas; None: in one piece.
        data_service: address of a tf.data service ("grpc://host:port") whose workers make the
            batches; with several workers their order is not the plan's.

    Raises:
        ConfigError: the settings do not go with a data service.
    """
    load, max_objects = _example_loader(dataset, cache), _max_objects(dataset, plan)
    anchors = plan.anchor_generator if anchor_generator is None else anchor_generator

    def make(planned: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        example = augment(
            load,
            planned,
            augmentation,
            horizontal_flip=horizontal_flip,
            vertical_flip=vertical_flip,
        )
        height, width = tf.unstack(planned["canvas_size"])
        return example["image"], make_targets(
            example["boxes"],
            example["labels"],
            is_ignored=example["is_ignored"],
            anchor_generator=anchors,
            height=height,
            width=width,
            max_objects=max_objects,
            positive_iou=positive_iou,
            negative_iou=negative_iou,
            force_match=force_match,
            matching=matching,
        )

    def batched(planned: tf.data.Dataset) -> tf.data.Dataset:
        return planned.map(make, num_parallel_calls=tf.data.AUTOTUNE).batch(
            images_per_batch or plan.batch_size // num_workers,
            drop_remainder=True,
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    if data_service is not None:
        refuse_with_service(num_workers=num_workers, has_cache=cache is not None)
        planned = planned_batches(plan, first_epoch=first_epoch, num_epochs=num_epochs)
        batches = batched(planned.flat_map(tf.data.Dataset.from_tensor_slices))
        batches = distributed(batches, data_service).skip(first_step)
    else:
        batches = batched(
            planned_images(
                plan,
                first_epoch=first_epoch,
                first_step=first_step,
                num_epochs=num_epochs,
                worker=worker,
                num_workers=num_workers,
            )
        )
    return batches.prefetch(tf.data.AUTOTUNE).with_options(reading_options(dataset.image_paths))


def network_inputs(
    image_paths: list[str], heights: np.ndarray, widths: np.ndarray, input_policy: InputPolicy
) -> tf.data.Dataset:
    """Return the inputs of image files of known upright sizes, as `scaled_inputs` does."""
    paths = tf.constant(image_paths, tf.string)
    read = image_reader(image_paths)
    return scaled_inputs(
        lambda index: decode_image(read(paths[index])), heights, widths, input_policy
    ).with_options(reading_options(image_paths))


def scaled_inputs(
    load: Callable[[Tensor], Tensor],
    heights: np.ndarray,
    widths: np.ndarray,
    input_policy: InputPolicy,
) -> tf.data.Dataset:
    """Return the inputs of images for evaluation, ordered so that equal sizes follow each other.

    Elements: "index", "image" [H, W, 3] padded, uint8 or as the policy has pixels, and "size" int32
    [2] without padding.
    Images share a canvas only with images that need the same one: padding another image cannot
    change an image's detections.

    Args:
        load: index of an image -> its pixels, uint8 [h, w, 3] of its height and width.
    """
    order, _ = canvas_order(heights, widths, input_policy)

    def make(index: Tensor) -> dict[str, Tensor]:
        image, size = preprocess(load(index), input_policy)
        return {"index": index, "image": image, "size": size}

    return (
        tf.data.Dataset.from_tensor_slices(order)
        .map(make, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def canvas_order(
    heights: np.ndarray, widths: np.ndarray, input_policy: InputPolicy
) -> tuple[np.ndarray, np.ndarray]:
    """Return the order [N] in which images are evaluated, and their canvases [N, 2] in it."""
    scaled = np.stack(input_policy.scaled_size(heights, widths), axis=1)
    canvas = np.stack(input_policy.canvas_size(scaled[:, 0], scaled[:, 1]), axis=1)
    order = np.lexsort((np.arange(len(canvas)), canvas[:, 1], canvas[:, 0]))
    return order, canvas[order]


def preprocess(
    images: Tensor, input_policy: InputPolicy, resize: Resize = bilinear
) -> tuple[Tensor, Tensor]:
    """Return the network's input for uint8 images [..., H, W, 3], and its size [2] without padding.

    It is of the policy's type of pixels. `resize` is for runtimes whose own scaling rounds
    otherwise.

    Evaluation, prediction and the exported model all scale images here.
    """
    shape = tf.shape(images)
    height, width = input_policy.scaled_size(shape[-3], shape[-2])
    canvas_height, canvas_width = input_policy.canvas_size(height, width)
    size = tf.stack([height, width])
    return fit_as(input_policy, images, size, canvas_height, canvas_width, resize), size


def _example_loader(
    dataset: DetectionDataset, cache: ImageCache | None
) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return a function from an image's index to its example."""
    paths, read = tf.constant(dataset.image_paths, tf.string), image_reader(dataset.image_paths)
    splits, cut = tf.constant(dataset.row_splits), _cutter(dataset.windows)
    flat = {name: tf.constant(getattr(dataset, name)) for name in _OBJECT_COLUMNS}

    def load(index: Tensor) -> dict[str, Tensor]:
        start, end = splits[index], splits[index + 1]
        return {
            "image": cached_image(
                cache, index, lambda: cut(decode_image(read(paths[index])), index)
            ),
            "visible": tf.ones((end - start,)),
            **{name: values[start:end] for name, values in flat.items()},
        }

    return load


def _cutter(windows: np.ndarray | None) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function from a file's image and an index to the part of it that is the image."""
    if windows is None:
        return lambda image, index: image
    parts = tf.constant(windows)

    def cut(image: Tensor, index: Tensor) -> Tensor:
        x1, y1, x2, y2 = tf.unstack(parts[index])
        return image[y1:y2, x1:x2]

    return cut


def _max_objects(dataset: DetectionDataset, plan: TrainingPlan) -> int:
    """Return the largest number of objects that an example can have.

    One row at least: images without any object still have something to gather from.
    """
    num_images = 1 + (NUM_TILES - 1) * (plan.mosaic > 0) + (plan.mixup > 0)
    return max(1, num_images * int(dataset.num_objects.max(initial=0)))
