"""Crops: a window of the image by itself (SSD), or scaled up and down (large-scale jitter)."""

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.data.pipeline.augment.visibility import Example, cut_to_image
from keras_retinanet.data.pipeline.canvas import fit_to_canvas, scale_boxes
from keras_retinanet.geometry.boxes import clip_boxes, pairwise_iou

# SSD (Liu et al. 2016, section 2.2, "Data augmentation"): the least overlaps to choose from, the
# sides of a window as shares of the image's, and how many windows are tried. 0 is any window.
SSD_MIN_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
SSD_SIDES = (0.3, 1.0)
SSD_MAX_ASPECT = 2.0
SSD_TRIALS = 50


def crop(example: Example, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Example:
    """Keep a window, in whole pixels, that lies inside the image."""
    image = tf.slice(example["image"], [top, left, 0], [height, width, 3])
    corner = tf.cast(tf.stack([left, top, left, top]), tf.float32)
    return cut_to_image({**example, "image": image, "boxes": example["boxes"] - corner})


def random_crop(example: Example, seed: Tensor) -> Example:
    """Keep a random window that has at least a drawn IoU with some object (SSD).

    The first of SSD_TRIALS windows that has it; the whole image if there is none. Without objects
    any window will do. Objects are kept wherever they lie; `min_visible` judges those that are cut.
    """
    size = tf.cast(tf.shape(example["image"])[:2], tf.float32)
    draws = tf.random.stateless_uniform((SSD_TRIALS, 5), seed)
    low, high = SSD_SIDES
    sides = tf.maximum(tf.floor((low + (high - low) * draws[:, :2]) * size), 1.0)
    corners = tf.floor(draws[:, 2:4] * (size - sides + 1.0))
    windows = tf.concat([corners[:, ::-1], (corners + sides)[:, ::-1]], axis=1)
    choice = tf.cast(draws[0, 4] * len(SSD_MIN_IOUS), tf.int32)
    min_iou = tf.gather(tf.constant(SSD_MIN_IOUS), choice)

    objects = tf.boolean_mask(example["boxes"], ~example["is_ignored"])
    best = tf.reduce_max(pairwise_iou(windows, objects), axis=1)  # -inf without objects
    aspect = sides[:, 0] / sides[:, 1]
    is_good = ((best >= min_iou) | (tf.shape(objects)[0] == 0)) & (
        tf.maximum(aspect, 1 / aspect) <= SSD_MAX_ASPECT
    )
    chosen = tf.argmax(is_good)
    top, left = tf.unstack(tf.cast(corners[chosen], tf.int32))
    height, width = tf.unstack(tf.cast(sides[chosen], tf.int32))
    return tf.cond(
        tf.reduce_any(is_good),
        lambda: crop(example, top, left, height, width),
        lambda: dict(example),
    )


def large_scale_jitter(
    example: Example,
    seed: Tensor,
    *,
    scale: tuple[float, float],
    size: Tensor,
    height: Tensor,
    width: Tensor,
) -> Example:
    """Scale the image to a random multiple of `size` [2] and put it on a canvas (height, width).

    What the canvas cannot hold is cropped, at a random place; what is left of the canvas is padded
    at right and bottom (Ghiasi et al. 2021, "Simple Copy-Paste", section 3). Only the window that
    is seen is scaled. A scale of (1, 1) just fits the image to the canvas.
    """
    draws = tf.random.stateless_uniform((3,), seed)
    source = tf.cast(tf.shape(example["image"])[:2], tf.float32)
    target = tf.round((scale[0] + (scale[1] - scale[0]) * draws[0]) * tf.cast(size, tf.float32))
    target = tf.maximum(target, 1.0)
    seen = tf.minimum(target, tf.cast(tf.stack([height, width]), tf.float32))
    # In whole pixels of the source; the window is then scaled to exactly what is seen.
    window = tf.clip_by_value(tf.round(seen * source / target), 1.0, source)
    corner = tf.floor(draws[1:] * (source - window + 1.0))
    top, left = tf.unstack(tf.cast(corner, tf.int32))
    window_height, window_width = tf.unstack(tf.cast(window, tf.int32))
    cropped = crop(example, top, left, window_height, window_width)
    placed = fit_example(cropped, tf.cast(seen, tf.int32), height, width)
    # Scaling may have rounded a box out of what is seen.
    return {**placed, "boxes": clip_boxes(placed["boxes"], seen[0], seen[1])}


def fit_example(example: Example, size: Tensor, height: Tensor, width: Tensor) -> Example:
    """Scale image and boxes to `size` [2], and pad at right and bottom."""
    image = example["image"]
    return {
        **example,
        "image": fit_to_canvas(image, size, height, width),
        "boxes": scale_boxes(example["boxes"], tf.shape(image)[:2], size),
    }
