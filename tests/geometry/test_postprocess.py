import math
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.postprocess import decode_detections, detect, with_binary_logits

SETTINGS = {
    "score_threshold": 0.05,
    "pre_nms_top_k": 1000,
    "nms_iou_threshold": 0.5,
    "max_detections": 100,
}
FAR_BELOW = -20.0


def logit(score):
    return math.log(score / (1 - score))


def decode(logits, deltas, anchors, *, levels=None, image_sizes=None, **settings):
    logits = np.asarray(logits, np.float32)
    detections = decode_detections(
        {"class_logits": tf.constant(logits), "box_deltas": tf.constant(deltas, tf.float32)},
        anchors=tf.constant(anchors, tf.float32),
        num_anchors_per_level=levels or [logits.shape[1]],
        image_sizes=tf.constant(
            [[1000, 1000]] * len(logits) if image_sizes is None else image_sizes
        ),
        box_coder=BoxCoder(),
        inference=InferenceSettings(**{**SETTINGS, **settings}),
    )
    return {name: value.numpy() for name, value in detections.items()}


def decode_boxes(boxes, scores, **settings):
    """Detections of one image whose anchors are the boxes themselves; scores [A, K]."""
    boxes = np.asarray(boxes, np.float32)
    scores = np.asarray(scores, np.float64)
    logits = np.log(np.maximum(scores, 1e-9)) - np.log1p(-scores)
    result = decode(logits[None], np.zeros((1, *boxes.shape)), boxes, **settings)
    return {name: value[0] for name, value in result.items()}


@pytest.fixture(scope="module")
def slow(iou_by_loops):
    """A function: one image's detections by float64 loops, as section 4.1 describes them."""

    def decode_box(delta, anchor, height, width):
        dx, dy, dw, dh = delta
        x1, y1, x2, y2 = anchor
        w, h = x2 - x1, y2 - y1
        x, y = (x1 + x2) / 2 + dx * w, (y1 + y2) / 2 + dy * h
        w, h = w * min(math.exp(dw), 1000 / 16), h * min(math.exp(dh), 1000 / 16)
        corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        return [min(max(c, 0), side) for c, side in zip(corners, (width, height) * 2)]

    def detections(logits, deltas, anchors, levels, size, **settings):
        settings = {**SETTINGS, **settings}
        scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
        candidates, start = [], 0
        for count in levels:
            pairs = [
                (scores[a, k], a, k)
                for a in range(start, start + count)
                for k in range(logits.shape[1])
                if scores[a, k] > settings["score_threshold"]
            ]
            candidates += sorted(pairs, key=lambda p: -p[0])[: settings["pre_nms_top_k"]]
            start += count
        candidates.sort(key=lambda p: -p[0])  # stable: of equal scores, the earlier first
        decoded = [decode_box(deltas[a].astype(float), anchors[a], *size) for _, a, _ in candidates]
        has_area = [x1 < x2 and y1 < y2 for x1, y1, x2, y2 in decoded]
        boxes = [box for box, keep in zip(decoded, has_area, strict=True) if keep]
        candidates = [pair for pair, keep in zip(candidates, has_area, strict=True) if keep]
        iou = iou_by_loops(boxes, boxes)
        kept = []
        for i, (_, _, k) in enumerate(candidates):
            rivals = [j for j in kept if candidates[j][2] == k]
            if all(iou[i, j] <= settings["nms_iou_threshold"] for j in rivals):
                kept.append(i)
        kept = kept[: settings["max_detections"]]
        return {
            "boxes": [boxes[i] for i in kept],
            "scores": [candidates[i][0] for i in kept],
            "classes": [candidates[i][2] for i in kept],
        }

    return detections


@pytest.fixture(scope="module")
def scene(random_boxes):
    """A function: num_classes -> logits, deltas, anchors of 2 images with 3 levels, crowded."""

    def make(num_classes):
        rng = np.random.default_rng(0)
        levels = [60, 25, 10]
        anchors = random_boxes(rng, sum(levels), 10.0, 60.0, 100, 120)
        logits = rng.normal(-2, 2, (2, sum(levels), num_classes)).astype(np.float32)
        deltas = rng.normal(0, 0.3, (2, sum(levels), 4)).astype(np.float32)
        return logits, deltas, anchors, levels, [[100, 120], [71, 64]]

    return make


@pytest.mark.parametrize(
    ("num_classes", "settings"),
    [
        (5, {}),
        (1, {}),
        (5, {"pre_nms_top_k": 7}),
        (5, {"max_detections": 6}),
        (3, {"score_threshold": 0.6}),
        (5, {"score_threshold": 0.0, "max_detections": 500}),
        (3, {"nms_iou_threshold": 0.1}),
        (3, {"nms_iou_threshold": 1.0, "max_detections": 500}),
    ],
)
@pytest.mark.parametrize("in_graph", [False, True])
def test_equals_slow_loops(scene, slow, num_classes, settings, in_graph):
    logits, deltas, anchors, levels, sizes = scene(num_classes)

    def fast(logits, deltas, anchors, sizes):
        return decode_detections(
            {"class_logits": logits, "box_deltas": deltas},
            anchors=anchors,
            num_anchors_per_level=levels,
            image_sizes=sizes,
            box_coder=BoxCoder(),
            inference=InferenceSettings(**{**SETTINGS, **settings}),
        )

    if in_graph:
        shapes = ((None, None, None), (None, None, 4), (None, 4))
        specs = [tf.TensorSpec(shape) for shape in shapes] + [tf.TensorSpec((None, 2), tf.int32)]
        fast = tf.function(fast, input_signature=specs)
    result = fast(*map(tf.constant, (logits, deltas, anchors, sizes)))
    limit = settings.get("max_detections", 100)
    assert result["boxes"].shape == (2, limit, 4)
    assert result["classes"].dtype == result["num_detections"].dtype == tf.int32
    for i, size in enumerate(sizes):
        expected = slow(logits[i], deltas[i], anchors, levels, size, **settings)
        count = len(expected["scores"])
        assert count > 3
        assert result["num_detections"][i] == count
        np.testing.assert_array_equal(result["classes"][i, :count], expected["classes"])
        np.testing.assert_allclose(result["scores"][i, :count], expected["scores"], rtol=1e-5)
        np.testing.assert_allclose(result["boxes"][i, :count], expected["boxes"], atol=1e-3)
        for values in ("boxes", "scores", "classes"):
            assert not np.any(result[values][i, count:])


def test_no_detections_at_all(scene):
    logits, deltas, anchors, levels, _ = scene(4)
    result = decode(np.full_like(logits, FAR_BELOW), deltas, anchors, levels=levels)
    for name, value in result.items():
        assert not value.any(), name
    assert result["boxes"].shape == (2, 100, 4)


def test_one_image_without_detections_beside_one_with(scene):
    logits, deltas, anchors, levels, sizes = scene(4)
    both = decode(logits, deltas, anchors, levels=levels, image_sizes=sizes)
    logits = logits.copy()
    logits[0] = FAR_BELOW
    result = decode(logits, deltas, anchors, levels=levels, image_sizes=sizes)
    assert result["num_detections"][0] == 0
    np.testing.assert_array_equal(result["boxes"][1], both["boxes"][1])


def test_scores_fall(scene):
    logits, deltas, anchors, levels, sizes = scene(4)
    scores = decode(logits, deltas, anchors, levels=levels, image_sizes=sizes)["scores"]
    assert (np.diff(scores) <= 0).all()


def test_score_at_the_threshold_is_dropped():
    boxes = [[0, 0, 10, 10], [50, 50, 60, 60]]
    result = decode_boxes(boxes, [[0.5], [0.5001]], score_threshold=0.5)
    assert result["num_detections"] == 1
    np.testing.assert_allclose(result["boxes"][0], boxes[1])


def test_threshold_of_one_keeps_nothing():
    assert decode_boxes([[0, 0, 10, 10]], [[0.999]], score_threshold=1.0)["num_detections"] == 0


def test_top_k_is_for_each_level_and_over_pairs_of_anchor_and_class():
    boxes = [[100 * i, 0, 100 * i + 50, 50] for i in range(5)]
    scores = [[0.9, 0.8], [0.7, 0.1], [0.6, 0.1], [0.3, 0.2], [0.25, 0.1]]
    result = decode_boxes(boxes, scores, levels=[3, 2], pre_nms_top_k=2)
    assert result["num_detections"] == 4
    np.testing.assert_allclose(result["scores"][:4], [0.9, 0.8, 0.3, 0.25], rtol=1e-5)
    np.testing.assert_array_equal(result["classes"][:4], [0, 1, 0, 0])
    np.testing.assert_array_equal(result["boxes"][:4, 0], [0, 0, 300, 400])


def test_top_k_larger_than_a_level():
    boxes = [[100 * i, 0, 100 * i + 50, 50] for i in range(3)]
    result = decode_boxes(boxes, [[0.9], [0.8], [0.7]], levels=[1, 2], pre_nms_top_k=10**6)
    assert result["num_detections"] == 3


def test_a_class_does_not_suppress_another():
    box = [[10, 10, 50, 50]]
    result = decode_boxes(box, [[0.9, 0.8, 0.7]])
    assert result["num_detections"] == 3
    np.testing.assert_array_equal(result["classes"][:3], [0, 1, 2])
    np.testing.assert_array_equal(result["boxes"][:3], box * 3)


def test_a_class_suppresses_itself():
    result = decode_boxes([[10, 10, 50, 50], [10, 10, 50, 52]], [[0.8, 0.1], [0.9, 0.01]])
    assert result["num_detections"] == 2  # one of class 0 and one of class 1
    np.testing.assert_allclose(result["scores"][:2], [0.9, 0.1], rtol=1e-5)


def test_of_equal_scores_the_first_anchor_and_class_come_first():
    boxes = [[100 * i, 0, 100 * i + 50, 50] for i in range(6)]
    scores = np.full((6, 2), 0.5)
    result = decode_boxes(boxes, scores)
    np.testing.assert_array_equal(result["boxes"][:12, 0], np.repeat(range(0, 600, 100), 2))
    np.testing.assert_array_equal(result["classes"][:12], [0, 1] * 6)
    few = decode_boxes(boxes, scores, pre_nms_top_k=3)
    assert few["num_detections"] == 3
    np.testing.assert_array_equal(few["boxes"][:3, 0], [0, 0, 100])
    # Of two equal boxes with equal scores one is left.
    assert decode_boxes([boxes[0]] * 2, [[0.5], [0.5]])["num_detections"] == 1


@pytest.mark.parametrize(
    "settings",
    [{}, {"clip": "after_nms"}, {"nms_across_classes": True}, {"nms_iou_threshold": 1.0}],
)
def test_the_order_of_candidates_does_not_matter(scene, settings):
    logits, deltas, anchors, levels, sizes = scene(5)
    logits = np.round(logits)  # most levels have many equal logits where the line is drawn

    def by_numpy(values, k, in_order):
        assert isinstance(in_order, bool)
        ranks = np.argsort(-values.numpy(), axis=1, kind="stable")
        return tf.constant(np.sort(ranks[:, : int(k)], axis=1), tf.int32)

    def found(**highest):
        return decode_detections(
            {"class_logits": tf.constant(logits), "box_deltas": tf.constant(deltas)},
            anchors=tf.constant(anchors),
            num_anchors_per_level=levels,
            image_sizes=tf.constant(sizes),
            box_coder=BoxCoder(),
            inference=InferenceSettings(**{**SETTINGS, "pre_nms_top_k": 20, **settings}),
            **highest,
        )

    by_value, by_index = found(), found(highest=by_numpy)
    assert by_value["num_detections"].numpy().min() > 10
    for name in ("boxes", "classes", "num_detections"):
        np.testing.assert_array_equal(by_value[name], by_index[name])
    # The last bit of TensorFlow's sigmoid depends on a value's place.
    np.testing.assert_allclose(by_value["scores"], by_index["scores"], rtol=2e-7)


@pytest.mark.parametrize(("share", "kept"), [(0.499, 2), (0.501, 1)])
@pytest.mark.parametrize("class_index", [0, 41, 89])
def test_threshold_holds_for_small_boxes_far_out_and_of_any_class(share, kept, class_index):
    """Pairs of boxes 8 pixels wide, one within the other: IoU = the share of the width."""
    corners = np.array([[1100.0 + 11.3 * i, 700.0 + 4.7 * i] for i in range(20)])
    boxes = [[x, y, x + w, y + 8] for x, y in corners for w in (8, 8 * share)]
    scores = np.full((len(boxes), 91), 1e-6)
    scores[:, class_index] = np.linspace(0.9, 0.8, len(boxes))
    result = decode_boxes(boxes, scores, image_sizes=[[800, 1333]])
    assert result["num_detections"] == kept * len(corners)
    assert (result["classes"][: kept * len(corners)] == class_index).all()


def test_boxes_are_clipped_to_each_image():
    anchors = [[-10, -20, 500, 600], [30, 30, 40, 40]]
    logits = np.full((2, 2, 1), logit(0.9))
    result = decode(logits, np.zeros((2, 2, 4)), anchors, image_sizes=[[100, 200], [300, 35]])[
        "boxes"
    ]
    np.testing.assert_allclose(result[0, :2], [[0, 0, 200, 100], [30, 30, 40, 40]], atol=1e-4)
    np.testing.assert_allclose(result[1, :2], [[0, 0, 35, 300], [30, 30, 35, 40]], atol=1e-4)


def test_huge_deltas_stay_finite():
    logits, deltas = np.full((1, 1, 1), 100.0), np.full((1, 1, 4), 1e4)
    result = decode(logits, deltas, [[0, 0, 32, 32]])
    assert all(np.isfinite(value).all() for value in result.values())


def test_empty_batch():
    result = decode(
        np.zeros((0, 2, 3)),
        np.zeros((0, 2, 4)),
        np.zeros((2, 4)),
        image_sizes=np.zeros((0, 2), int),
    )
    assert result["boxes"].shape == (0, 100, 4)


@pytest.fixture(scope="module")
def model(make_tiny):
    return make_tiny(prior=0.3, inference=InferenceSettings(0.2, 50, 0.6, 9))


def test_detect_uses_the_models_settings(model, rng):
    images = rng.integers(0, 256, (2, 65, 96, 3), dtype=np.uint8)
    sizes = np.array([[65, 90], [40, 96]])
    result = detect(model, images, sizes)
    outputs = model(images)
    expected = decode(
        outputs["class_logits"],
        outputs["box_deltas"],
        model.anchor_generator(65, 96),
        levels=model.anchor_generator.num_anchors_per_level(65, 96),
        image_sizes=sizes,
        score_threshold=0.2,
        pre_nms_top_k=50,
        nms_iou_threshold=0.6,
        max_detections=9,
    )
    assert (expected["num_detections"] == 9).all()
    for name, value in expected.items():
        np.testing.assert_array_equal(result[name], value)


def test_detect_in_a_graph_of_unknown_image_size(model, rng):
    specs = [tf.TensorSpec((None, None, None, 3), tf.uint8), tf.TensorSpec((None, 2), tf.int32)]
    graph = tf.function(lambda i, s: detect(model, i, s), input_signature=specs)
    for shape in ((2, 64, 64, 3), (1, 65, 33, 3)):
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        sizes = np.array([shape[1:3]] * shape[0], np.int32)
        expected = detect(model, images, sizes)
        for name, value in graph(images, sizes).items():
            np.testing.assert_allclose(value, expected[name], atol=1e-3, err_msg=name)


def test_boxes_left_without_area_by_clipping_are_no_detections():
    result = decode_boxes(
        [[10, 10, 50, 50], [70, 10, 90, 50], [10, 64, 50, 90]],
        [[0.5], [0.9], [0.8]],
        image_sizes=[[64, 64]],
    )
    assert result["num_detections"] == 1
    np.testing.assert_allclose(result["boxes"][0], [10, 10, 50, 50])


def test_scores_of_a_softmax_model_are_its_softmax(make_tiny):
    """Over the classes and background, whose logit is 0; the rest is as for sigmoids."""
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    keep_all = InferenceSettings(score_threshold=0.0, nms_iou_threshold=1.0, max_detections=400)
    model = make_tiny(class_activation="softmax", prior=0.3, inference=keep_all)
    found = detect(model, tf.constant(images), tf.constant([[64, 64]]))
    logits = np.float64(model(images)["class_logits"][0])
    exp = np.exp(logits)
    expected = np.sort((exp / (1 + exp.sum(axis=1, keepdims=True))).ravel())[::-1]
    np.testing.assert_allclose(found["scores"][0, :300], expected[:300], rtol=1e-5)


def test_certain_softmax_scores_are_finite():
    from keras_retinanet.geometry import postprocess

    logits = np.array([[100.0, 0.0], [-100.0, -100.0], [0.0, 0.0], [100.0, 100.0]], np.float32)
    binary = postprocess._softmax_to_binary_logits(tf.constant(logits))
    expected = [[1, 0], [0, 0], [1 / 3, 1 / 3], [0.5, 0.5]]
    np.testing.assert_allclose(tf.sigmoid(binary), expected, rtol=1e-6, atol=1e-30)
    assert np.isfinite(binary).all()


class TestBoxQuality:
    """Scores are p^(1 - share) q^share, as logits."""

    @staticmethod
    def joint(logits, quality, share, activation="sigmoid"):
        settings = SimpleNamespace(
            class_activation=activation, inference=InferenceSettings(box_quality_share=share)
        )
        outputs = {"class_logits": logits, "box_deltas": "boxes", "box_quality": quality}
        found = with_binary_logits({k: tf.constant(v) for k, v in outputs.items()}, settings)
        assert found.keys() == {"class_logits", "box_deltas"} and found["box_deltas"] == b"boxes"
        return found["class_logits"].numpy()

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
    def test_equals_float64(self, share):
        """Over -50...50, where p and q, or 1 - p and 1 - q, are lost in float32."""
        values = np.linspace(-50, 50, 201)
        class_logits, quality = np.meshgrid(values, values)
        log_p, log_q = (-np.logaddexp(0, -x) for x in (class_logits, quality))
        log_score = (1 - share) * log_p + share * log_q
        expected = log_score - np.log(-np.expm1(log_score))
        found = self.joint(
            np.float32(class_logits)[..., None], np.float32(quality)[..., None], share
        )
        np.testing.assert_allclose(found[..., 0], expected, rtol=1e-6, atol=1e-6)
        if share == 0:
            np.testing.assert_allclose(found[..., 0], class_logits, rtol=1e-6, atol=1e-6)

    def test_all_classes_of_an_anchor_share_its_quality(self, rng):
        logits, quality = rng.normal(0, 3, (2, 5, 4)), rng.normal(0, 3, (2, 5, 1))
        found = self.joint(np.float32(logits), np.float32(quality), 0.3)
        p, q = (1 / (1 + np.exp(-x)) for x in (logits, quality))
        np.testing.assert_allclose(1 / (1 + np.exp(-found)), p**0.7 * q**0.3, rtol=1e-5)

    def test_shares_of_a_softmax(self, rng):
        logits, quality = rng.normal(0, 3, (5, 4)), rng.normal(0, 3, (5, 1))
        found = self.joint(np.float32(logits), np.float32(quality), 0.5, "softmax")
        p = np.exp(logits) / (1 + np.exp(logits).sum(axis=1, keepdims=True))
        expected = np.sqrt(p / (1 + np.exp(-quality)))
        np.testing.assert_allclose(1 / (1 + np.exp(-found)), expected, rtol=1e-5)

    def test_certain_scores_are_finite(self):
        extreme = np.float32([[[500.0, -500.0]], [[500.0, -500.0]]])
        found = self.joint(extreme, np.float32([[[500.0]], [[-500.0]]]), 0.5)
        assert np.isfinite(found).all() and found[0, 0, 0] > 50 and found[1, 0, 1] < -400

    def test_a_model_detects_by_them(self, make_tiny, rng):
        keep_all = InferenceSettings(
            score_threshold=0.0, nms_iou_threshold=1.0, max_detections=400, box_quality_share=0.25
        )
        model = make_tiny(box_quality="iou", prior=0.3, inference=keep_all)
        kernel = model.get_layer("box_quality_predictions").kernel
        kernel.assign(rng.normal(0, 0.5, kernel.shape))
        images = rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
        found = detect(model, tf.constant(images), tf.constant([[64, 64]]))
        outputs = model(images)
        p, q = (
            1 / (1 + np.exp(-np.float64(outputs[name][0])))
            for name in ("class_logits", "box_quality")
        )
        assert q.std() > 0.1
        expected = np.sort((p**0.75 * q**0.25).ravel())[::-1]
        np.testing.assert_allclose(found["scores"][0, :300], expected[:300], rtol=1e-5)


class TestBorders:
    """Boxes that reach over the border of an image of 100 x 100."""

    SIZE = [[100, 100]]
    # The first two overlap by less than half as they are, and are one box once they are cut.
    BOXES = [[-100, 10, 50, 60], [20 - 100, 10, 50, 60], [-40, -40, -1, -1], [60, 60, 90, 90]]
    SCORES = [[0.9], [0.8], [0.7], [0.6]]

    def found(self, boxes=BOXES, scores=SCORES, **settings):
        found = decode_boxes(boxes, scores, image_sizes=self.SIZE, **settings)
        count = found["num_detections"]
        assert not found["boxes"][count:].any() and not found["scores"][count:].any()
        return found["boxes"][:count].tolist()

    def test_cut_before_nms(self):
        assert self.found() == [[0, 10, 50, 60], [60, 60, 90, 90]]

    def test_cut_after_nms(self):
        low = {"nms_iou_threshold": 0.9}
        assert self.found(clip="before_nms", **low) == [[0, 10, 50, 60], [60, 60, 90, 90]]
        cut = [[0, 10, 50, 60], [0, 10, 50, 60], [60, 60, 90, 90]]
        assert self.found(clip="after_nms", **low) == cut

    def test_not_cut(self):
        boxes = self.found(clip="none", nms_iou_threshold=0.9)
        np.testing.assert_allclose(boxes, self.BOXES, atol=1e-4)

    @pytest.mark.parametrize("clip", ["before_nms", "after_nms"])
    def test_empty_boxes_may_stay(self, clip):
        kept = self.found(clip=clip, drop_empty=False)
        assert [0, 0, 0, 0] in kept
        assert [0, 0, 0, 0] not in self.found(clip=clip)

    def test_classes_are_apart_wherever_boxes_lie(self):
        """With coordinates below zero, too, no class suppresses another, and each itself."""
        box = [-700.0, -900.0, -650.0, -800.0]
        near = [-701.0, -900.0, -651.0, -800.0]
        far = [3000.0, 2000.0, 3100.0, 2100.0]
        boxes = [box, near, box, near, far]
        scores = np.full((5, 6), 1e-6)
        for i, label in enumerate((0, 0, 5, 3, 2)):
            scores[i, label] = 0.9 - 0.1 * i
        found = decode_boxes(boxes, scores, image_sizes=self.SIZE, clip="none")
        assert found["classes"][: found["num_detections"]].tolist() == [0, 5, 3, 2]

    def test_unknown_is_refused(self):
        with pytest.raises(ValueError, match=r"clip must be one of .*not 'twice'"):
            InferenceSettings(clip="twice")
