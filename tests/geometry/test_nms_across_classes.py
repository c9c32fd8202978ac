"""NMS that looks at no class, against loops; the classes stay those of the best."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.postprocess import decode_detections


def found(boxes, scores, **settings):
    """Detections of an image whose anchors are the boxes themselves; scores [A, K]."""
    scores = np.asarray(scores, np.float64)
    logits = np.log(scores) - np.log1p(-scores)
    detections = decode_detections(
        {
            "class_logits": tf.constant(logits[None], tf.float32),
            "box_deltas": tf.zeros((1, len(boxes), 4)),
        },
        anchors=tf.constant(boxes, tf.float32),
        num_anchors_per_level=[len(boxes)],
        image_sizes=tf.constant([[100, 100]]),
        box_coder=BoxCoder(),
        inference=InferenceSettings(**settings),
    )
    detections = {name: value[0].numpy() for name, value in detections.items()}
    count = detections["num_detections"]
    return {name: value[:count] for name, value in detections.items() if value.ndim}


def greedy(boxes, scores, iou_by_loops, threshold=0.5, lowest=0.05):
    """Return index and class of what is kept: pairs from the best down, whatever their class."""
    pairs = [(scores[i, k], i, k) for i in range(len(boxes)) for k in range(scores.shape[1])]
    iou = iou_by_loops(boxes, boxes)
    kept = []
    for score, i, k in sorted(pairs, reverse=True):
        if score > lowest and all(iou[i, j] <= threshold for j, _ in kept):
            kept.append((i, k))
    return kept


def random_case(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(5, 60, (40, 2)) + shift
    boxes = np.concatenate([corner, corner + rng.uniform(10, 30, (40, 2))], axis=1)
    return boxes, rng.uniform(0.01, 0.9, (40, 5))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("clip", ["before_nms", "none"])
def test_as_loops(seed, clip, iou_by_loops):
    shift = -50.0 if clip == "none" else 0.0  # coordinates below zero are boxes like others
    boxes, scores = random_case(seed, shift)
    result = found(boxes, scores, nms_across_classes=True, clip=clip)
    expected = greedy(boxes, scores, iou_by_loops)
    assert 5 < len(expected) < 40
    index, classes = zip(*expected, strict=True)
    np.testing.assert_allclose(result["boxes"], boxes[list(index)], atol=1e-3)
    np.testing.assert_array_equal(result["classes"], classes)
    np.testing.assert_allclose(result["scores"], scores[list(index), list(classes)], rtol=1e-5)


def test_one_place_has_one_class():
    boxes = [[10, 10, 50, 50], [12, 10, 52, 50], [60, 60, 90, 90]]
    scores = [[0.8, 0.7], [0.1, 0.9], [0.3, 0.2]]
    across = found(boxes, scores, nms_across_classes=True)
    assert across["classes"].tolist() == [1, 0]
    assert math.isclose(across["scores"][0], 0.9, rel_tol=1e-5)
    by_class = found(boxes, scores)
    assert sorted(by_class["classes"].tolist()) == [0, 0, 1, 1]
