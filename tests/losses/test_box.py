import math

import numpy as np
import pytest

from keras_retinanet.losses import CIoULoss, DIoULoss, GIoULoss, SmoothL1


class TestSmoothL1:
    @staticmethod
    def closed_form(distance, beta):
        distance = np.abs(np.asarray(distance, np.float64))
        if beta == 0:
            return distance
        return np.where(distance < beta, distance**2 / (2 * beta), distance - beta / 2)

    @pytest.mark.parametrize("beta", [0.0, 1 / 9, 1.0, 3.0])
    def test_value_and_gradient(self, value_and_gradient, beta, rng):
        true, pred = rng.normal(size=(2, 2, 30, 4)).astype(np.float32)
        value, gradient = value_and_gradient(SmoothL1(beta), true, pred)
        difference = pred.astype(np.float64) - true
        expected = self.closed_form(difference, beta).sum(axis=-1)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        slope = np.sign(difference) if beta == 0 else np.clip(difference / beta, -1, 1)
        np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-6)

    def test_default_beta_is_one_ninth(self):
        value = SmoothL1().call(np.zeros((1, 4)), np.array([[1.0, -1.0, 1 / 18, 0]]))
        np.testing.assert_allclose(value, [2 * (1 - 1 / 18) + 1 / 72], rtol=1e-6)

    @pytest.mark.parametrize("beta", [0.0, 0.5])
    def test_equal_boxes_have_neither_loss_nor_gradient(self, value_and_gradient, beta):
        value, gradient = value_and_gradient(SmoothL1(beta), np.ones((3, 4), "f"), np.ones((3, 4)))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(gradient, 0)

    def test_negative_beta_is_refused(self):
        with pytest.raises(ValueError, match="beta must not be negative"):
            SmoothL1(beta=-1.0)


class TestGIoU:
    @staticmethod
    def by_hand(a, b):
        (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = np.float64(a), np.float64(b)
        width = max(0, min(ax2, bx2) - max(ax1, bx1))
        height = max(0, min(ay2, by2) - max(ay1, by1))
        union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - width * height
        hull = (max(ax2, bx2) - min(ax1, bx1)) * (max(ay2, by2) - min(ay1, by1))
        return 1 - (width * height / union - (hull - union) / hull)

    def test_value_and_gradient(self, value_and_gradient, rng, random_boxes):
        true, pred = random_boxes(rng, 60, 5.0, 50.0).reshape(2, 30, 4)
        value, gradient = value_and_gradient(GIoULoss(), true, pred)
        expected = [self.by_hand(a, b) for a, b in zip(true, pred)]
        np.testing.assert_allclose(value, expected, rtol=2e-6)
        step = 1e-5 * np.eye(4)
        for i, (a, b) in enumerate(zip(true, pred.astype(np.float64))):
            slope = [(self.by_hand(a, b + s) - self.by_hand(a, b - s)) / 2e-5 for s in step]
            np.testing.assert_allclose(gradient[i], slope, rtol=1e-3, atol=1e-6)

    @pytest.mark.parametrize(
        ("pred", "expected"),
        [
            ([0, 0, 10, 10], 0.0),  # equal
            ([10, 0, 20, 10], 1.0),  # side by side: no overlap, no gap
            ([20, 0, 30, 10], 1 + 1 / 3),  # a gap as wide as a box
            ([2, 2, 8, 8], 1 - 0.36),  # within
            ([0, 0, 1e6, 1e6], 2 - 2 + 1 - 1e-10),
        ],
    )
    def test_closed_values(self, pred, expected):
        value = GIoULoss().call(np.float32([[0, 0, 10, 10]]), np.float32([pred]))
        np.testing.assert_allclose(value, [expected], atol=1e-6)

    def test_boxes_without_area_are_finite(self, value_and_gradient):
        value, gradient = value_and_gradient(GIoULoss(), np.ones((1, 4), "f"), np.ones((1, 4)))
        assert np.isfinite(value).all() and np.isfinite(gradient).all()


class TestDIoUAndCIoU:
    @staticmethod
    def by_hand(a, b, weight=None):
        """1 - DIoU in float64, and with CIoU's term: `weight` of it, or the paper's if "alpha"."""
        (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = np.float64(a), np.float64(b)
        width = max(0, min(ax2, bx2) - max(ax1, bx1))
        height = max(0, min(ay2, by2) - max(ay1, by1))
        union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - width * height
        iou = width * height / union
        distance = math.dist(((ax1 + ax2) / 2, (ay1 + ay2) / 2), ((bx1 + bx2) / 2, (by1 + by2) / 2))
        diagonal = math.hypot(max(ax2, bx2) - min(ax1, bx1), max(ay2, by2) - min(ay1, by1))
        loss = 1 - iou + (distance / diagonal) ** 2
        if weight is None:
            return loss
        angles = math.atan((ax2 - ax1) / (ay2 - ay1)), math.atan((bx2 - bx1) / (by2 - by1))
        v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
        alpha = v / (1 - iou + v) if weight == "alpha" else weight
        return (loss + alpha * v, alpha)

    @pytest.mark.parametrize("kind", [DIoULoss, CIoULoss])
    def test_value_and_gradient(self, kind, value_and_gradient, rng, random_boxes):
        true, pred = random_boxes(rng, 60, 5.0, 50.0).reshape(2, 30, 4)
        value, gradient = value_and_gradient(kind(), true, pred)
        for i, (a, b) in enumerate(zip(true, pred.astype(np.float64))):

            def loss(box, weight, a=a):
                return self.by_hand(a, box) if kind is DIoULoss else self.by_hand(a, box, weight)[0]

            expected = loss(b, "alpha")
            np.testing.assert_allclose(value[i], expected, rtol=2e-6)
            alpha = self.by_hand(a, b, "alpha")[1]  # has no gradient
            steps = 1e-5 * np.eye(4)
            slope = [(loss(b + s, alpha) - loss(b - s, alpha)) / 2e-5 for s in steps]
            np.testing.assert_allclose(gradient[i], slope, rtol=1e-3, atol=1e-6)

    @pytest.mark.parametrize(
        ("pred", "diou", "shape"),
        [
            ([0, 0, 10, 10], 0.0, 0.0),  # equal
            ([10, 0, 20, 10], 1 + 100 / 500, 0.0),  # side by side
            ([90, 0, 100, 10], 1 + 8100 / 10100, 0.0),  # far apart
            ([2, 2, 8, 8], 1 - 0.36, 0.0),  # within, about the same centre
            ([0, 0, 4, 4], 1 - 0.16 + 18 / 200, 0.0),  # within, in the corner: GIoU sees no more
            ([0, 0, 10, 10 / 3**0.5], 1 - 3**-0.5 + (5 - 5 / 3**0.5) ** 2 / 200, 1 / 36),  # 60 deg
        ],
    )
    def test_closed_values(self, pred, diou, shape):
        boxes = np.float32([[0, 0, 10, 10]]), np.float32([pred])
        np.testing.assert_allclose(DIoULoss().call(*boxes), [diou], atol=1e-6)
        iou = 3**-0.5
        term = shape**2 / (1 - iou + shape) if shape else 0.0
        np.testing.assert_allclose(CIoULoss().call(*boxes), [diou + term], atol=1e-6)

    @pytest.mark.parametrize("kind", [DIoULoss, CIoULoss])
    @pytest.mark.parametrize(
        ("true", "pred"),
        [
            ([1, 1, 1, 1], [1, 1, 1, 1]),  # two points, the same
            ([1, 1, 1, 1], [5, 5, 5, 5]),
            ([0, 0, 10, 10], [3, 3, 3, 3]),
            ([0, 0, 10, 10], [3, 0, 3, 8]),  # no width
            ([0, 0, 10, 10], [0, 3, 8, 3]),  # no height
            ([0, 0, 10, 10], [8, 8, 2, 2]),  # turned inside out
            ([0, 0, 10, 10], [0, 0, 10, 10]),
        ],
    )
    def test_boxes_without_area_are_finite(self, kind, true, pred, value_and_gradient):
        value, gradient = value_and_gradient(kind(), np.float32([true]), np.float32([pred]))
        assert np.isfinite(value).all() and np.isfinite(gradient).all()
        assert 0 <= value[0] <= 3

    @pytest.mark.parametrize("kind", [DIoULoss, CIoULoss])
    def test_equal_boxes_are_the_minimum(self, kind, value_and_gradient, rng, random_boxes):
        true = random_boxes(rng, 20, 5.0, 50.0)
        least = value_and_gradient(kind(), true, true)[0]
        np.testing.assert_allclose(least, 0, atol=1e-6)
        moved = true + rng.normal(0, 1, true.shape).astype(np.float32)
        assert (value_and_gradient(kind(), true, moved)[0] > 1e-3).all()
