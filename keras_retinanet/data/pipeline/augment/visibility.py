"""What becomes of objects that an augmentation cuts: clipped, dropped, or ignored. TensorFlow."""

import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.geometry.boxes import box_area, clip_boxes

Example = dict[str, Tensor]

# The entries that have a row for each object.
OBJECT_ENTRIES = ("boxes", "labels", "is_ignored", "visible")
# Pixels; what is left of a narrower object cannot be recognised.
MIN_SIDE = 1.0


def cut_to_image(example: Example) -> Example:
    """Clip boxes to the image, lower "visible" by the share lost, and drop boxes outside of it."""
    height, width = tf.unstack(tf.cast(tf.shape(example["image"])[:2], tf.float32))
    boxes = example["boxes"]
    clipped = clip_boxes(boxes, height, width)
    left = tf.math.divide_no_nan(box_area(clipped), box_area(boxes))
    example = {**example, "boxes": clipped, "visible": example["visible"] * left}
    return keep_objects(example, box_area(clipped) > 0)


def keep_objects(example: Example, keep: Tensor) -> Example:
    """Return the example with those objects for which `keep` [n] is True."""
    rows = tf.where(keep)[:, 0]  # boolean_mask would search for them once for each entry
    return {**example, **{name: tf.gather(example[name], rows) for name in OBJECT_ENTRIES}}


def join_objects(examples: list[Example]) -> Example:
    """Return the entries of the objects of all examples, one after the other."""
    return {name: tf.concat([e[name] for e in examples], axis=0) for name in OBJECT_ENTRIES}


def ignore_cut_objects(example: Example, *, min_visible: float) -> Example:
    """Make objects of which too little is left ignored regions: no object, and no background."""
    boxes = example["boxes"]
    sides = tf.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    is_cut = (example["visible"] < min_visible) | (sides < MIN_SIDE)
    return {**example, "is_ignored": example["is_ignored"] | is_cut}
