"""The targets of an image: its objects in rows of equal number, and the anchors' matches."""

import functools
from collections.abc import Callable

import tensorflow as tf

from keras_retinanet.conventions import NEGATIVE_IOU, POSITIVE_IOU, Tensor
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.matching import match_anchors

# Label of the rows that fill gt_labels up.
NO_LABEL = -1

# gt_boxes [M, 4], ignored_regions [R, 4], anchor_generator=, height=, width= -> matches [A]
Matching = Callable[..., Tensor]


def make_targets(
    boxes: Tensor,
    labels: Tensor,
    *,
    anchor_generator: AnchorGenerator,
    height: int | Tensor,
    width: int | Tensor,
    max_objects: int,
    is_ignored: Tensor | None = None,
    positive_iou: float = POSITIVE_IOU,
    negative_iou: float = NEGATIVE_IOU,
    force_match: bool | str = False,
    matching: Matching | None = None,
) -> dict[str, Tensor]:
    """Return what `DetectionLoss` takes of one image, eagerly or in a tf.data map.

    "gt_boxes" float32 [M, 4] and "gt_labels" int32 [M], filled up with zeros and NO_LABEL, and
    "matches" int32 [A], with M = `max_objects`; `batch` puts those of several images together::

        def example(image, boxes, labels):  # on one canvas of 512 x 512
            return image, make_targets(
                boxes, labels, anchor_generator=model.anchor_generator, height=512, width=512,
                max_objects=100,
            )

    Args:
        boxes: [N, 4] xyxy in pixels of the network's input; N may be 0, and `max_objects` at most.
        labels: [N], 0 ... K-1.
        height, width: the input's size in pixels, padding included.
        is_ignored: [N] bool, regions to ignore: they are no objects, and anchors in them no
            background.
        positive_iou, negative_iou, force_match: see `match_anchors`.
        matching: in its place, with settings of its own, such as `geometry.atss.match_atss`.

    Raises:
        tf.errors.InvalidArgumentError: there are more objects than `max_objects`.
    """
    boxes, labels = tf.cast(boxes, tf.float32), tf.cast(labels, tf.int32)
    ignored = tf.zeros((0, 4))
    if is_ignored is not None:
        is_ignored = tf.cast(is_ignored, tf.bool)
        ignored = tf.boolean_mask(boxes, is_ignored)
        boxes, labels = (tf.boolean_mask(x, ~is_ignored) for x in (boxes, labels))
    match = matching or functools.partial(
        match_anchors, positive_iou=positive_iou, negative_iou=negative_iou, force_match=force_match
    )
    matches = match(boxes, ignored, anchor_generator=anchor_generator, height=height, width=width)
    free = max_objects - tf.shape(labels)[0]
    tf.debugging.assert_non_negative(free, f"an image has more than max_objects = {max_objects}")
    return {
        "gt_boxes": tf.ensure_shape(tf.pad(boxes, [[0, free], [0, 0]]), (max_objects, 4)),
        "gt_labels": tf.ensure_shape(
            tf.pad(labels, [[0, free]], constant_values=NO_LABEL), (max_objects,)
        ),
        "matches": matches,
    }
