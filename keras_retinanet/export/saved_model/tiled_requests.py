"""Images of requests that are cut into tiles in the graph, as `TiledDetector` does. TensorFlow."""

import math
from collections.abc import Callable

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.batches import preprocess
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.detection.tiled_detector import PART_SHARE
from keras_retinanet.export.saved_model.request_batches import by_canvas, prepared
from keras_retinanet.geometry.boxes import box_area, pairwise_intersection
from keras_retinanet.geometry.tiling import EDGE_SHARE, LEAST_EDGE

# Inputs [n, H, W, 3] and their sizes [n, 2] -> detections as `decode_detections` gives them, in
# pixels of the inputs.
Detect = Callable[[Tensor, Tensor], dict[str, Tensor]]


def detect_in_tiles(image: Tensor, settings: DetectorSettings, detect: Detect) -> dict[str, Tensor]:
    """Return the detections in an image [H, W, 3] that is cut as the settings say, each [1, ...].

    The rules are those of `TiledDetector` and `Tiling`, which are NumPy's.
    """
    size = tf.shape(image)[:2]
    tops, lefts = (_starts(size[i], settings) for i in range(2))
    sides = tf.minimum(size, settings.tiling.size)
    rows, columns = tf.meshgrid(tf.range(tf.size(tops)), tf.range(tf.size(lefts)), indexing="ij")
    places = tf.stack([tf.reshape(rows, [-1]), tf.reshape(columns, [-1])], axis=1)  # [T, 2]
    corners = tf.stack([tf.gather(tops, places[:, 0]), tf.gather(lefts, places[:, 1])], axis=1)
    found = _in_each(image, corners, sides, settings, detect)

    def together() -> dict[str, Tensor]:
        return _merged(_of_image(found, corners, places, tops, lefts, sides), settings)

    return tf.cond(tf.shape(corners)[0] == 1, lambda: found, together)


def _of_image(
    found: dict[str, Tensor],
    corners: Tensor,
    places: Tensor,
    tops: Tensor,
    lefts: Tensor,
    sides: Tensor,
) -> dict[str, Tensor]:
    """Return the detections of all tiles in pixels of the image, but for parts of objects."""
    is_there = tf.range(tf.shape(found["scores"])[1]) < found["num_detections"][:, None]
    tile = tf.cast(tf.where(is_there)[:, 0], tf.int32)  # of each detection
    boxes = tf.boolean_mask(found["boxes"], is_there)
    offset = tf.cast(tf.gather(corners, tile)[:, ::-1], tf.float32)
    boxes += tf.concat([offset, offset], axis=1)
    lost, cut = _at_edges(boxes, tf.gather(places, tile), tops, lefts, sides)
    every = {
        "boxes": boxes,
        "scores": tf.boolean_mask(found["scores"], is_there),
        "classes": tf.boolean_mask(found["classes"], is_there),
    }
    kept = {name: tf.boolean_mask(value, ~lost) for name, value in every.items()}
    return _without_parts(kept, tf.boolean_mask(cut, ~lost))


def _starts(length: Tensor, settings: DetectorSettings) -> Tensor:
    """Return where tiles begin along a side, as `Tiling.starts`."""
    side = int(settings.tiling.size or 0)
    step = max(1, side - math.ceil(side * settings.tiling.overlap))
    rest = tf.maximum(length - side, 0)
    count = -(-rest // step)
    starts = tf.range(count + 1) * rest // tf.maximum(count, 1)
    return tf.cast(starts, tf.int32)


def _in_each(
    image: Tensor, corners: Tensor, sides: Tensor, settings: DetectorSettings, detect: Detect
) -> dict[str, Tensor]:
    """Return the detections [T, ...] in each tile, in its pixels."""
    policy = settings.input_policy

    def tile_input(corner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tile = tf.slice(image, [corner[0], corner[1], 0], [sides[0], sides[1], 3])
        return *preprocess(tile, policy), tf.constant(True)

    inputs, sizes, _ = prepared(corners, tile_input, policy.pixels)
    canvases = tf.stack(policy.canvas_size(sizes[:, 0], sizes[:, 1]), axis=1)
    canvases = tf.ensure_shape(tf.broadcast_to(canvases, tf.shape(sizes)), (None, 2))
    count = settings.inference.max_detections
    signature = {
        "boxes": tf.TensorSpec((count, 4), tf.float32),
        "scores": tf.TensorSpec((count,), tf.float32),
        "classes": tf.TensorSpec((count,), tf.int32),
        "num_detections": tf.TensorSpec((), tf.int32),
    }
    found = by_canvas(inputs, sizes, canvases, detect, signature)
    # From pixels of the network's input, where all tiles have one size.
    scale = tf.cast(sides[::-1], tf.float32) / tf.cast(sizes[0, ::-1], tf.float32)
    return {**found, "boxes": found["boxes"] * tf.concat([scale, scale], axis=0)}


def _at_edges(
    boxes: Tensor, places: Tensor, tops: Tensor, lefts: Tensor, sides: Tensor
) -> tuple[Tensor, Tensor]:
    """Return which boxes [n, 4] a neighbour sees better, and which end at an inner edge.

    Args:
        places: [n, 2], row and column of each box's tile.
        sides: height and width of tiles.
    """
    lost = cut = tf.zeros(tf.shape(boxes)[:1], tf.bool)
    for axis, (starts, place) in enumerate(((lefts, places[:, 1]), (tops, places[:, 0]))):
        side = tf.cast(sides[1 - axis], tf.float32)
        edge = tf.maximum(LEAST_EDGE, EDGE_SHARE * side)
        low, high = boxes[:, axis], boxes[:, axis + 2]
        last = tf.size(starts) - 1
        start, before, after = (
            tf.cast(tf.gather(starts, tf.clip_by_value(place + step, 0, last)), tf.float32)
            for step in (0, -1, 1)
        )
        has_before, has_after = place > 0, place < last
        at_low = has_before & (low < start + edge)
        at_high = has_after & (high > start + side - edge)
        cut |= at_low | at_high
        lost |= at_low & (high <= before + side - 2 * edge)
        lost |= at_high & (low >= after + 2 * edge)
    return lost, cut


def _without_parts(found: dict[str, Tensor], is_cut: Tensor) -> dict[str, Tensor]:
    """Leave out the boxes cut by an edge that lie within a larger one of their class."""
    boxes, scores, classes = found["boxes"], found["scores"], found["classes"]
    areas = box_area(boxes)

    def is_part(row: Tensor) -> Tensor:
        common = pairwise_intersection(boxes[row][None], boxes)[0]
        holds = (common >= PART_SHARE * areas[row]) & (areas > areas[row])
        # One that is much less sure is no reason.
        holds &= (classes == classes[row]) & (2 * scores >= scores[row])
        return tf.reduce_any(holds)

    rows = tf.where(is_cut)[:, 0]
    parts = tf.map_fn(is_part, rows, fn_output_signature=tf.bool)
    kept = tf.tensor_scatter_nd_update(tf.ones_like(is_cut), rows[:, None], ~parts)
    return {name: tf.boolean_mask(value, kept) for name, value in found.items()}


def _merged(found: dict[str, Tensor], settings: DetectorSettings) -> dict[str, Tensor]:
    """Return the best detections that NMS leaves, filled up to `max_detections`, each [1, ...]."""
    boxes, scores, classes = found["boxes"], found["scores"], found["classes"]
    inference = settings.inference
    most = inference.max_detections
    groups = tf.zeros_like(classes) if inference.nms_across_classes else classes
    count = 1 if inference.nms_across_classes else len(settings.class_names)

    def step(group: Tensor, kept: tf.TensorArray) -> tuple[Tensor, tf.TensorArray]:
        rows = tf.where(groups == group)[:, 0]
        index = tf.image.non_max_suppression(
            tf.gather(boxes, rows), tf.gather(scores, rows), most, inference.nms_iou_threshold
        )
        return group + 1, kept.write(group, tf.gather(rows, index))

    rows_of = tf.TensorArray(tf.int64, count, infer_shape=False, element_shape=(None,))
    _, rows_of = tf.while_loop(lambda group, _: group < count, step, (0, rows_of))
    rows = rows_of.concat()
    order = tf.argsort(tf.gather(scores, rows), direction="DESCENDING", stable=True)[:most]
    best = tf.gather(rows, order)
    missing = most - tf.size(best)

    def filled(values: Tensor) -> Tensor:
        values = tf.gather(values, best)
        padding = [[0, missing]] + [[0, 0]] * (values.shape.rank - 1)
        return tf.ensure_shape(tf.pad(values, padding), (most, *values.shape[1:]))[None]

    filled_up = {name: filled(value) for name, value in found.items()}
    return {**filled_up, "num_detections": tf.size(best)[None]}
