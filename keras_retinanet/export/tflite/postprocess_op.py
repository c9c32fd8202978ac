"""Post-processing as TFLite: the levels' predictions in, detections out, all in float32.

The steps are those of `geometry.postprocess.decode_detections`, by operations that TFLite has:
candidates by top-k on each level, decoding and clipping, and NMS, by default for each class by
itself.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.export.tflite.conversion import Conversion
from keras_retinanet.export.tflite.join import append_detection_op, join
from keras_retinanet.export.tflite.network import predictions
from keras_retinanet.geometry.boxes import box_area, clip_boxes
from keras_retinanet.models.retinanet import RetinaNet

POSTPROCESSINGS = ("op", "builtin", "none")

# The op takes everything from its threshold on, and a score of 0 means no candidate.
_LOWEST_THRESHOLD = 1e-6


def postprocessing_conversions(
    model: RetinaNet, *, height: int, width: int, postprocessing: str = "op"
) -> list[Conversion]:
    """Return the graphs of what follows on the outputs of `network_conversion`, in their order.

    The files that they become are put together by `join_postprocessing`.

    Args:
        postprocessing: "op": NMS by TFLite_Detection_PostProcess, which every TFLite for detection
            has, between the two graphs; "builtin": by built-in operations; "none": only the scores.
    """
    counts = model.anchor_generator.num_anchors_per_level(height, width)
    depths = predictions(model).values()
    specs = [tf.TensorSpec((1, n, depth), tf.float32) for depth in depths for n in counts]

    def run(*maps: Tensor) -> tuple[Tensor, ...]:
        logits, deltas, *quality = (
            maps[i : i + len(counts)] for i in range(0, len(maps), len(counts))
        )
        values = [_comparable(*level, model=model) for level in zip(logits, *quality)]
        if postprocessing == "none":
            return _scores(tf.concat(values, axis=1), model), tf.concat(deltas, axis=1)
        boxes, top, classes = _candidates(model, values, deltas, height, width)
        scores = tf.where(box_area(boxes) > 0, _scores(top, model), 0.0)
        before_nms = _for_op if postprocessing == "op" else _by_builtins
        return before_nms(model, boxes, scores, classes)

    functions = [(run, specs)]
    if postprocessing == "op":
        count = model.inference.max_detections
        shapes = ((1, count, 4), (1, count), (1, count), (1,))
        functions.append((_from_op(model), [tf.TensorSpec(shape) for shape in shapes]))
    return [
        Conversion(tf.function(function, autograph=False).get_concrete_function(*inputs))
        for function, inputs in functions
    ]


def join_postprocessing(model: RetinaNet, files: Sequence[bytes]) -> bytes:
    """Return the files of `postprocessing_conversions` as one.

    Outputs in the order of DETECTION_OUTPUTS: boxes [1, N, 4] as shares of the image's sides (top,
    left, bottom, right), 0-based classes [1, N], scores [1, N] descending, number [1], all float32,
    with N = max_detections; or of RAW_OUTPUTS: scores [1, A, K] and deltas [1, A, 4].
    """
    if len(files) == 1:
        return files[0]
    before, after = files
    first = append_detection_op(
        before,
        max_detections=model.inference.max_detections,
        num_classes=model.num_classes,
        score_threshold=_threshold(model),
        iou_threshold=model.inference.nms_iou_threshold,
    )
    return join(first, after)


def _threshold(model: RetinaNet) -> float:
    return max(model.inference.score_threshold, _LOWEST_THRESHOLD)


def _comparable(logits: Tensor, quality: Tensor | None = None, *, model: RetinaNet) -> Tensor:
    """Return what the candidates are ranked by: logits as they are, of a softmax its shares.

    With the boxes' quality, shares p of either kind times q^(share / (1 - share)): in the order of
    the scores, with one power for each anchor in place of each of its classes.
    """
    if model.class_activation == "sigmoid":
        values = logits if quality is None else tf.sigmoid(logits)
    else:
        background = tf.zeros_like(logits[..., :1])
        values = tf.nn.softmax(tf.concat([logits, background], axis=-1))[..., :-1]
    if quality is None:
        return values
    share = model.inference.box_quality_share
    return values * tf.sigmoid(quality) ** (share / (1.0 - share))


def _scores(values: Tensor, model: RetinaNet) -> Tensor:
    if model.box_quality != "none":
        return values ** (1.0 - model.inference.box_quality_share)
    return tf.sigmoid(values) if model.class_activation == "sigmoid" else values


def _candidates(
    model: RetinaNet, values: Sequence[Tensor], deltas: Sequence[Tensor], height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each level's best pairs of anchor and class: boxes [C, 4] xyxy as shares of the
    image's sides and clipped to it, their values [C] and classes [C]."""
    counts = model.anchor_generator.num_anchors_per_level(height, width)
    anchors = tf.split(model.anchor_generator(height, width), counts)
    parts = []
    for level_values, level_deltas, level_anchors in zip(values, deltas, anchors, strict=True):
        flat = tf.reshape(level_values, (-1,))
        top, pair = tf.math.top_k(flat, min(model.inference.pre_nms_top_k, flat.shape[0]))
        anchor = pair // model.num_classes
        parts.append(
            (
                top,
                pair - anchor * model.num_classes,
                tf.gather(level_deltas[0], anchor),
                tf.gather(level_anchors, anchor),
            )
        )
    top, classes, deltas, anchors = (tf.concat(part, axis=0) for part in zip(*parts, strict=True))
    boxes = clip_boxes(model.box_coder.decode(deltas, anchors), float(height), float(width))
    return boxes / tf.constant([width, height] * 2, tf.float32), top, classes


def _for_op(model: RetinaNet, boxes: Tensor, scores: Tensor, classes: Tensor) -> tuple[Tensor, ...]:
    """Return what the custom op takes: encodings [1, C, 4], scores [1, C, K] and anchors [C, 4].

    Its own decoding does not clip, and all anchors in its list cost their time. Here it is handed
    candidates, as anchors that are the boxes already, with no offset from them.
    """
    x1, y1, x2, y2 = tf.unstack(boxes + _places(model, classes), axis=1)
    centres = tf.stack([(y1 + y2) / 2.0, (x1 + x2) / 2.0, y2 - y1, x2 - x1], axis=1)
    by_class = tf.one_hot(classes, model.num_classes) * scores[:, None]
    return tf.zeros_like(boxes)[None], by_class[None], centres


def _from_op(model: RetinaNet) -> Callable:
    """Return a function of the op's outputs that brings boxes back, and zeros unused places."""

    def run(boxes: Tensor, classes: Tensor, scores: Tensor, count: Tensor) -> tuple[Tensor, ...]:
        is_used = tf.cast(tf.range(float(model.inference.max_detections)) < count, tf.float32)
        places = tf.gather(_places(model, tf.cast(classes[0], tf.int32)), [1, 0, 3, 2], axis=1)
        return (
            ((boxes[0] - places) * is_used[:, None])[None],
            classes * is_used,
            scores * is_used,
            tf.reduce_sum(is_used, keepdims=True),
        )

    return lambda *outputs: run(*outputs)  # inputs numbered by the converter, as `join` needs


def _by_builtins(
    model: RetinaNet, boxes: Tensor, scores: Tensor, classes: Tensor
) -> tuple[Tensor, ...]:
    index, count = tf.raw_ops.NonMaxSuppressionV4(
        boxes=boxes + _places(model, classes),
        scores=scores,
        max_output_size=model.inference.max_detections,
        iou_threshold=model.inference.nms_iou_threshold,
        score_threshold=_threshold(model),
        pad_to_max_output_size=True,
    )
    index = tf.ensure_shape(index, (model.inference.max_detections,))
    is_used = tf.cast(tf.range(model.inference.max_detections) < count, tf.float32)
    boxes = tf.gather(tf.gather(boxes, index), [1, 0, 3, 2], axis=1)
    return (
        (boxes * is_used[:, None])[None],
        (tf.cast(tf.gather(classes, index), tf.float32) * is_used)[None],
        (tf.gather(scores, index) * is_used)[None],
        tf.reduce_sum(is_used, keepdims=True),
    )


def _places(model: RetinaNet, classes: Tensor) -> Tensor:
    """Return what moves boxes [C, 4] xyxy within 0...1 apart by class, in a square of places."""
    if model.inference.nms_across_classes:
        return tf.zeros((tf.size(classes), 4), tf.float32)
    columns = math.ceil(math.sqrt(model.num_classes))
    row = classes // columns
    place = tf.cast(tf.stack([classes - row * columns, row], axis=1), tf.float32)
    return 2.0 * tf.tile(place, (1, 2))
