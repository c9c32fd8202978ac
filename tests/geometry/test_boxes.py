import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.geometry import boxes as B
from keras_retinanet.geometry.boxes import BoxCoder

CODERS = {
    "centre": BoxCoder(),
    "centre with variances": BoxCoder(variances=(0.1, 0.1, 0.2, 0.2)),
    "corner": BoxCoder(coding="corner", variances=(0.2, 0.2, 0.2, 0.2)),
}


@pytest.fixture(params=CODERS.values(), ids=CODERS.keys())
def coder(request):
    return request.param


@pytest.fixture(params=["eager", "tf.data"])
def run(request):
    """A function that calls another on arrays, eagerly or on the elements of a tf.data pipeline."""

    def call(function, *arrays):
        if request.param == "eager":
            return np.asarray(function(*map(tf.constant, arrays)))
        dataset = tf.data.Dataset.from_tensors(arrays).map(function)
        return next(dataset.as_numpy_iterator())

    return call


@pytest.fixture
def boxes_and_anchors(rng, random_boxes):
    return random_boxes(rng, 500, 2.0, 400.0, 800, 1333), random_boxes(
        rng, 500, 20.0, 400.0, 800, 1333
    )


def test_decode_undoes_encode(coder, run, boxes_and_anchors):
    boxes, anchors = boxes_and_anchors
    decoded = run(lambda b, a: coder.decode(coder.encode(b, a), a), boxes, anchors)
    np.testing.assert_allclose(decoded, boxes, atol=2e-3)


def test_encode_undoes_decode(coder, run, rng, boxes_and_anchors):
    _, anchors = boxes_and_anchors
    deltas = rng.normal(size=anchors.shape).astype(np.float32)
    if coder.coding == "corner":  # with corners, only such deltas mean a box of positive size
        deltas = np.concatenate([-np.abs(deltas[:, :2]), np.abs(deltas[:, 2:])], axis=1)
    encoded = run(lambda d, a: coder.encode(coder.decode(d, a), a), deltas, anchors)
    np.testing.assert_allclose(encoded, deltas, atol=2e-3)


def test_centre_coding_is_the_r_cnn_parameterisation():
    anchor = [10.0, 20.0, 30.0, 60.0]  # centre 20, 40; 20 x 40
    box = [20.0, 20.0, 60.0, 40.0]  # centre 40, 30; 40 x 20
    deltas = BoxCoder().encode(tf.constant(box), tf.constant(anchor))
    np.testing.assert_allclose(deltas, [1.0, -0.25, np.log(2), -np.log(2)], rtol=1e-6)


def test_corner_coding_is_offsets_of_corners_over_the_anchors_size():
    anchor, box = [10.0, 20.0, 30.0, 60.0], [20.0, 20.0, 60.0, 40.0]
    deltas = CODERS["corner"].encode(tf.constant(box), tf.constant(anchor))
    expected = np.array([10 / 20, 0 / 40, 30 / 20, -20 / 40]) / 0.2
    np.testing.assert_allclose(deltas, expected, rtol=1e-6)


def test_variances_divide_the_deltas(boxes_and_anchors):
    boxes, anchors = map(tf.constant, boxes_and_anchors)
    scaled = CODERS["centre with variances"].encode(boxes, anchors)
    plain = BoxCoder().encode(boxes, anchors)
    np.testing.assert_allclose(scaled * [0.1, 0.1, 0.2, 0.2], plain, rtol=1e-5, atol=1e-6)


def test_decoded_sizes_are_clamped():
    anchor = tf.constant([[0.0, 0.0, 16.0, 32.0]])
    decoded = BoxCoder().decode(tf.constant([[0.0, 0.0, 1e4, 1e4]]), anchor)
    x1, y1, x2, y2 = decoded[0].numpy()
    # Detectron's clamp, log(1000 / 16).
    np.testing.assert_allclose([x2 - x1, y2 - y1], [1000.0, 2000.0], rtol=1e-4)
    below = BoxCoder().decode(tf.constant([[0.0, 0.0, np.log(60.0), np.log(0.5)]]), anchor)[0]
    np.testing.assert_allclose(below[2:] - below[:2], [960.0, 16.0], rtol=1e-4)


def test_clamp_is_a_setting():
    decoded = BoxCoder(max_size_ratio=2.0).decode(
        tf.constant([[0.0, 0.0, 5.0, 5.0]]), tf.constant([[0.0, 0.0, 10.0, 10.0]])
    )
    np.testing.assert_allclose(decoded, [[-5.0, -5.0, 15.0, 15.0]], rtol=1e-5)


def test_unknown_coding_is_refused():
    with pytest.raises(ValueError, match=r"coding must be one of.*'middle'"):
        BoxCoder(coding="middle")


def test_iou_equals_a_float64_loop(run, rng, random_boxes, iou_by_loops):
    a, b = random_boxes(rng, 60, 4.0, 60.0), random_boxes(rng, 40, 4.0, 60.0)
    iou = run(B.pairwise_iou, a, b)
    assert 0.05 < (iou > 0).mean() < 0.95 and iou.max() > 0.5
    np.testing.assert_allclose(iou, iou_by_loops(a, b), atol=1e-5)


def test_iou_has_batch_axes(rng, random_boxes):
    a = random_boxes(rng, 6).reshape(2, 3, 4)
    b = random_boxes(rng, 10).reshape(2, 5, 4)
    iou = B.pairwise_iou(a, b)
    assert iou.shape == (2, 3, 5)
    for i in range(2):
        np.testing.assert_array_equal(iou[i], B.pairwise_iou(a[i], b[i]))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 1.0),
        ([0, 0, 10, 10], [0, 0, 5, 10], 0.5),
        ([0, 0, 10, 10], [10, 0, 20, 10], 0.0),  # a common edge
        ([0, 0, 10, 10], [5, 5, 15, 15], 25 / 175),  # no "+1"
        ([3, 3, 3, 3], [3, 3, 3, 3], 0.0),  # no area
        ([10, 10, 0, 0], [0, 0, 10, 10], 0.0),  # inverted
        ([10, 10, 0, 0], [10, 10, 0, 0], 0.0),
    ],
)
def test_iou_by_hand(run, a, b, expected):
    iou = run(B.pairwise_iou, np.array([a], np.float32), np.array([b], np.float32))
    np.testing.assert_allclose(iou, [[expected]], rtol=1e-6)


def test_intersection_by_hand(run):
    a = np.array([[0, 0, 10, 10], [0, 0, 2, 30]], np.float32)
    b = np.array([[5, 5, 15, 15], [1, -4, 9, 40], [90, 90, 91, 91]], np.float32)
    np.testing.assert_array_equal(run(B.pairwise_intersection, a, b), [[25, 80, 0], [0, 30, 0]])


def test_area_of_inverted_boxes_is_zero(run):
    boxes = np.array([[0, 0, 3, 4], [3, 0, 0, 4], [3, 4, 0, 0], [5, 5, 5, 9]], np.float32)
    np.testing.assert_array_equal(run(B.box_area, boxes), [12, 0, 0, 0])


def test_clip(run):
    boxes = np.array(
        [[-5, -6, 3, 4], [90, 70, 120, 130], [-9, -9, -1, -1], [10, 20, 30, 40]], np.float32
    )
    clipped = run(lambda b: B.clip_boxes(b, 80.0, 100.0), boxes)
    np.testing.assert_array_equal(
        clipped, [[0, 0, 3, 4], [90, 70, 100, 80], [0, 0, 0, 0], [10, 20, 30, 40]]
    )


def test_clip_with_a_size_for_each_image(run):
    boxes = np.full((2, 3, 4), 50.0, np.float32)
    sizes = np.array([[10, 20], [30, 90]], np.float32)
    clipped = run(lambda b, s: B.clip_boxes(b, s[:, :1], s[:, 1:]), boxes, sizes)
    np.testing.assert_array_equal(clipped[0], [[20, 10, 20, 10]] * 3)
    np.testing.assert_array_equal(clipped[1], [[50, 30, 50, 30]] * 3)


def test_formats_by_hand(run):
    boxes = np.array([[10, 20, 40, 80]], np.float32)
    np.testing.assert_array_equal(run(B.xyxy_to_xywh, boxes), [[10, 20, 30, 60]])
    np.testing.assert_array_equal(run(B.xywh_to_xyxy, boxes), [[10, 20, 50, 100]])
    normalized = run(lambda b: B.xyxy_to_yxyx_normalized(b, 200.0, 100.0), boxes)
    np.testing.assert_allclose(normalized, [[0.1, 0.1, 0.4, 0.4]], rtol=1e-6)


@pytest.mark.parametrize("batch", [(), (7,), (2, 3)])
def test_formats_round_trip(run, rng, random_boxes, batch):
    boxes = random_boxes(rng, int(np.prod(batch))).reshape(*batch, 4)

    def there_and_back(x):
        x = B.xywh_to_xyxy(B.xyxy_to_xywh(x))
        return B.yxyx_normalized_to_xyxy(B.xyxy_to_yxyx_normalized(x, 48.0, 64.0), 48.0, 64.0)

    np.testing.assert_allclose(run(there_and_back, boxes), boxes, atol=1e-4)


def test_decode_has_no_gradient_beyond_the_clamp():
    deltas = tf.Variable([[0.0, 0.0, 100.0, -1.0]])
    with tf.GradientTape() as tape:
        size = keras.ops.sum(BoxCoder().decode(deltas, tf.constant([[0.0, 0.0, 8.0, 8.0]]))[:, 2:])
    gradient = tape.gradient(size, deltas).numpy()[0]
    assert np.isfinite(gradient).all() and gradient[2] == 0 and gradient[3] != 0


def test_without_a_clamp_sizes_grow_as_they_are_decoded():
    deltas, anchor = np.float32([[0, 0, 6, 5]]), np.float32([[0, 0, 10, 10]])
    x1, y1, x2, y2 = np.asarray(BoxCoder(max_size_ratio=None).decode(deltas, anchor))[0]
    np.testing.assert_allclose([x2 - x1, y2 - y1], 10 * np.exp([6.0, 5.0]), rtol=1e-5)


def test_centerness_is_fcos_equation_3(rng, random_boxes, run):
    boxes = random_boxes(rng, 300, 4.0, 60.0)
    points = boxes[:, :2] + rng.uniform(-0.1, 1.1, (300, 2)) * (boxes[:, 2:] - boxes[:, :2])
    points = points.astype(np.float32)
    points[0] = 0.5 * (boxes[0, :2] + boxes[0, 2:])
    points[1], boxes[2] = boxes[1, :2], np.float32([5, 5, 5, 5])
    found = run(B.centerness, points, boxes)
    expected = []
    for (x, y), (x1, y1, x2, y2) in zip(np.float64(points), np.float64(boxes), strict=True):
        left, right, top, bottom = x - x1, x2 - x, y - y1, y2 - y
        is_inside = min(left, right, top, bottom) > 0
        across = min(left, right) / max(left, right) if is_inside else 0
        down = min(top, bottom) / max(top, bottom) if is_inside else 0
        expected.append(np.sqrt(across * down))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(found[0], 1, atol=1e-6)
    assert found[1] == found[2] == 0 and 0.1 < np.mean(np.array(expected) == 0) < 0.5
