"""A tf.data.Dataset of one's own, given to `fit`: it ends, and its targets have matches."""

from typing import Any

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.matching import match_anchors

_HOW = "make them with kr.make_targets, see docs/python.md"


def refuse_endless(batches: Any, steps_per_epoch: int | None) -> None:
    """Raise ValueError for a stream without an end, of which `fit` would never see an epoch."""
    if not isinstance(batches, tf.data.Dataset) or steps_per_epoch is not None:
        return
    if int(batches.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "the batches never end: give fit steps_per_epoch, which is plan.steps_per_epoch for "
            "kr.training_batches(train_set, plan)"
        )


def with_matches(x: Any, y: Any, anchor_generator: AnchorGenerator) -> Any:
    """Return `x`; a data set whose targets have gt_boxes and gt_labels alone gets matches.

    Anchors are matched as the paper does; `make_targets` takes other thresholds and regions to
    ignore.

    Raises:
        ValueError: the targets are others, or the images come one by one.
    """
    if not isinstance(x, tf.data.Dataset):
        if isinstance(y, dict) and "matches" not in y:
            raise ValueError(f"targets need matches beside {', '.join(y)}: {_HOW}")
        return x
    spec = x.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2 or not isinstance(spec[1], dict):
        raise ValueError(
            "fit takes batches (images, targets), and targets is a dict of gt_boxes, gt_labels and "
            f"matches: {_HOW}"
        )
    images, targets = spec[:2]
    if images.shape.rank == 3:
        raise ValueError("the images come one by one: give fit batches, data.batch(4)")
    if "matches" in targets:
        return x
    if not {"gt_boxes", "gt_labels"} <= set(targets):
        raise ValueError(f"targets need gt_boxes and gt_labels, got {', '.join(targets)}: {_HOW}")

    def matched(images: Tensor, targets: dict[str, Tensor], *weights: Tensor) -> tuple:
        height, width = tf.unstack(tf.shape(images)[1:3])

        def of_image(boxes_and_labels: tuple[Tensor, Tensor]) -> Tensor:
            boxes, labels = boxes_and_labels
            rows = tf.where(tf.cast(labels, tf.int32) >= 0)[:, 0]  # the others fill up
            matches = match_anchors(
                tf.gather(tf.cast(boxes, tf.float32), rows),
                tf.zeros((0, 4)),
                anchor_generator=anchor_generator,
                height=height,
                width=width,
            )
            # An object's number among all rows; BACKGROUND and IGNORE are below 0.
            padded = tf.concat([tf.cast(rows, tf.int32), [0]], 0)
            return tf.where(matches >= 0, tf.gather(padded, tf.maximum(matches, 0)), matches)

        pair = targets["gt_boxes"], targets["gt_labels"]
        matches = tf.map_fn(of_image, pair, fn_output_signature=tf.int32)
        return images, {**targets, "matches": matches}, *weights

    return x.map(matched, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
