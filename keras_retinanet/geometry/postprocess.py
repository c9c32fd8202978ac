"""From the network's outputs to detections: threshold, top-k per level, decode, NMS. TensorFlow.

Evaluation, prediction and export all go through `decode_detections`, so that what is measured is
what is served.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.geometry.boxes import BoxCoder, box_area, clip_boxes
from keras_retinanet.geometry.inference_settings import InferenceSettings

# Values [B, N], k, and whether in order -> the indices [B, k] of each row's k highest, of equal
# values the first. In order they ascend; else only those of equal values do: NMS ranks these so.
Highest = Callable[[Tensor, Tensor, bool], Tensor]

SMALLEST = 1e-30  # keeps the logarithm of a vanishing probability finite


def detect(model: Any, images: Tensor, image_sizes: Tensor) -> dict[str, Tensor]:
    """Return the detections of a RetinaNet in a batch of network inputs, by the model's settings.

    Args:
        images: [B, H, W, 3], RGB in 0...255.
        image_sizes: [B, 2] int, height and width of each image without its padding.

    Returns:
        As `decode_detections`.
    """
    outputs = with_binary_logits(model(images, training=False), model)
    return detections_of(model, outputs, tf.shape(images)[1], tf.shape(images)[2], image_sizes)


def with_binary_logits(outputs: dict[str, Tensor], settings: Any) -> dict[str, Tensor]:
    """Return "box_deltas" and "class_logits" whose sigmoids are the scores.

    Args:
        outputs: of a network, "box_quality" among them if it predicts that: it is part of the
            scores then, and of the outputs no more.
        settings: a RetinaNet, or whatever has its settings of inference.
    """
    logits = outputs["class_logits"]
    if settings.class_activation == "softmax":
        logits = _softmax_to_binary_logits(logits)
    if "box_quality" in outputs:
        share = settings.inference.box_quality_share
        logits = _joint_logits(logits, outputs["box_quality"], share)
    return {"class_logits": logits, "box_deltas": outputs["box_deltas"]}


def highest_by_top_k(values: Tensor, k: Tensor, in_order: bool) -> Tensor:
    """Return the indices as `Highest` says, by TensorFlow's top-k; where not in order, by value."""
    _, index = tf.math.top_k(values, k, sorted=not in_order)
    return tf.sort(index, axis=1) if in_order else index


def detections_of(
    settings: Any,
    outputs: dict[str, Tensor],
    height: Tensor,
    width: Tensor,
    image_sizes: Tensor,
    highest: Highest = highest_by_top_k,
) -> dict[str, Tensor]:
    """Return the detections in a network's outputs for inputs of `height` x `width`.

    Args:
        settings: a RetinaNet, or whatever has its settings of inference.
        outputs: with binary logits.
        image_sizes: as in `detect`.
        highest: as in `decode_detections`.
    """
    return decode_detections(
        outputs,
        anchors=settings.anchor_generator(height, width),
        num_anchors_per_level=settings.anchor_generator.num_anchors_per_level(height, width),
        image_sizes=image_sizes,
        box_coder=settings.box_coder,
        inference=settings.inference,
        highest=highest,
    )


def decode_detections(
    outputs: dict[str, Tensor],
    *,
    anchors: Tensor,
    num_anchors_per_level: Sequence,
    image_sizes: Tensor,
    box_coder: BoxCoder,
    inference: InferenceSettings,
    highest: Highest = highest_by_top_k,
) -> dict[str, Tensor]:
    """Turn logits and deltas into at most `inference.max_detections` boxes an image (section 4.1).

    On each level low scores are dropped and the highest few kept; only these are decoded and
    clipped to the image (by default); then NMS, by default for each class by itself.

    Args:
        outputs: "class_logits" [B, A, K] and "box_deltas" [B, A, 4].
        anchors: [A, 4].
        num_anchors_per_level: how many of the A belong to each level, in order.
        image_sizes: [B, 2] int, height and width of each image without its padding.
        highest: finds candidates; another than TensorFlow's for graphs that other runtimes run.

    Returns:
        "boxes" [B, N, 4] xyxy in pixels of the input, "scores" [B, N] descending, "classes" [B, N]
        int32 and "num_detections" [B] int32 with N = max_detections; unused places hold zeros.
    """
    logits, deltas = outputs["class_logits"], outputs["box_deltas"]
    # One pass over all logits; slices of them would be copies of tens of megabytes.
    best = tf.reduce_max(logits, axis=2)
    candidates = []
    start = 0
    for count in num_anchors_per_level:
        candidates.append(
            _top_candidates(
                logits, best[:, start : start + count], start, inference.pre_nms_top_k, highest
            )
        )
        start = start + count
    scores, index, classes = (tf.concat(parts, axis=1) for parts in zip(*candidates, strict=True))
    boxes = box_coder.decode(tf.gather(deltas, index, batch_dims=1), tf.gather(anchors, index))
    sizes = tf.cast(image_sizes, tf.float32)
    if inference.clip == "before_nms":
        boxes = clip_boxes(boxes, sizes[:, :1], sizes[:, 1:])
    most = inference.max_detections
    return tf.map_fn(
        lambda image: _non_maximum_suppression(*image, inference=inference),
        (boxes, scores, classes, sizes),
        fn_output_signature={
            "boxes": tf.TensorSpec((most, 4), tf.float32),
            "scores": tf.TensorSpec((most,), tf.float32),
            "classes": tf.TensorSpec((most,), tf.int32),
            "num_detections": tf.TensorSpec((), tf.int32),
        },
    )


def _top_candidates(
    logits: Tensor, level_best: Tensor, start: Tensor, k: int, highest: Highest
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a level's k highest logits [B, k], with the indices of their anchors and classes.

    The k highest pairs of anchor and class lie within the k anchors whose best class is highest, so
    that only those anchors' classes have to be looked at.

    Args:
        logits: [B, A, K] of all levels.
        level_best: [B, A'], the level's anchors' highest logits.
        start: index of the level's first anchor among all.
    """
    num_anchors, num_classes = tf.shape(level_best)[1], tf.shape(logits)[2]
    # In the order of the anchors: equal logits then rank as they would among all of them.
    anchor_index = highest(level_best, tf.minimum(k, num_anchors), True) + start
    pairs = tf.gather(logits, anchor_index, batch_dims=1)
    pairs = tf.reshape(pairs, (tf.shape(pairs)[0], -1))
    pair_index = highest(pairs, tf.minimum(k, tf.shape(pairs)[1]), False)
    top = tf.gather(pairs, pair_index, batch_dims=1)
    anchor_index = tf.gather(anchor_index, pair_index // num_classes, batch_dims=1)
    return top, anchor_index, pair_index % num_classes


def _non_maximum_suppression(
    boxes: Tensor,
    logits: Tensor,
    classes: Tensor,
    size: Tensor,
    *,
    inference: InferenceSettings,
) -> dict[str, Tensor]:
    """Suppress (by default within each class) and keep the best: boxes [C, 4] -> [N, 4]."""
    max_detections = inference.max_detections
    keep = logits > _logit(inference.score_threshold)
    if inference.drop_empty:
        # Anchors in the padding end as boxes without area at the image's border.
        keep &= box_area(boxes) > 0
    boxes, logits, classes = (tf.boolean_mask(x, keep) for x in (boxes, logits, classes))
    apart = boxes
    if not inference.nms_across_classes:
        apart = _apart_by_class(boxes, classes, is_inside=inference.clip == "before_nms")
    index = tf.image.non_max_suppression(apart, logits, max_detections, inference.nms_iou_threshold)
    if inference.clip == "after_nms":
        boxes = clip_boxes(boxes, size[0], size[1])
        if inference.drop_empty:
            index = tf.boolean_mask(index, tf.gather(box_area(boxes), index) > 0)
    count = tf.size(index)
    padding = max_detections - count

    def padded(x: Tensor) -> Tensor:
        rank_paddings = [[0, padding]] + [[0, 0]] * (x.shape.rank - 1)
        return tf.ensure_shape(
            tf.pad(tf.gather(x, index), rank_paddings), (max_detections, *x.shape[1:])
        )

    return {
        "boxes": padded(boxes),
        "scores": padded(tf.sigmoid(logits)),
        "classes": padded(classes),
        "num_detections": count,
    }


def _apart_by_class(boxes: Tensor, classes: Tensor, *, is_inside: bool) -> Tensor:
    """Move each class's boxes to a place of its own, so that one NMS treats all classes.

    The places form a square: with 80 classes, coordinates grow by a factor of 9 and not 80, and
    float32 keeps the IoU of even small boxes to four digits.

    Args:
        is_inside: the boxes lie in the image, so that none has a coordinate below 0.
    """
    if not is_inside and boxes.shape[0] != 0:
        boxes -= tf.reduce_min(boxes)
    side = tf.reduce_max(boxes, axis=None) if boxes.shape[0] != 0 else 0.0
    columns = tf.cast(
        tf.math.ceil(tf.sqrt(tf.cast(tf.reduce_max(classes) + 1, tf.float32))), tf.int32
    )
    columns = tf.maximum(columns, 1)
    offset = tf.cast(tf.stack([classes % columns, classes // columns], axis=1), tf.float32)
    return boxes + tf.tile(offset * (side + 1.0), (1, 2))


def _logit(probability: float) -> float:
    """Return the logit of a probability; -inf at 0, where everything passes."""
    if probability <= 0:
        return -math.inf
    return math.log(probability / (1.0 - probability)) if probability < 1 else math.inf


def _softmax_to_binary_logits(logits: Tensor) -> Tensor:
    """Return the logits [..., K] whose sigmoids are the softmax' probabilities of the K classes.

    Background takes part in the softmax with the logit 0, as in `SoftmaxFocalLoss`.
    """
    highest = tf.maximum(tf.reduce_max(logits, axis=-1, keepdims=True), 0.0)
    total = tf.reduce_sum(tf.exp(logits - highest), axis=-1, keepdims=True) + tf.exp(-highest)
    log_p = logits - highest - tf.math.log(total)
    # log(p / (1 - p)); 1 - p by expm1, which does not cancel where p is small.
    return log_p - tf.math.log(tf.maximum(-tf.math.expm1(log_p), SMALLEST))


def _joint_logits(logits: Tensor, quality: Tensor, share: float) -> Tensor:
    """Return the logits [..., K] of p^(1 - share) q^share, of p's [..., K] and q's [..., 1].

    With t = -log of that score, its logit is -t - log(1 - exp(-t)).
    """
    t = (1.0 - share) * tf.math.softplus(-logits) + share * tf.math.softplus(-quality)
    # By tanh, which every runtime has, 1 - exp(-t) does not cancel where t is small.
    rest = tf.tanh(0.5 * t) * (1.0 + tf.exp(-t))
    return -t - tf.math.log(tf.maximum(rest, SMALLEST))
