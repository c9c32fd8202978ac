"""Parity: what is counted as a difference, and what a tolerance refuses."""

import dataclasses

import numpy as np
import pytest

from keras_retinanet.errors import DataError, WeightsError
from keras_retinanet.export.verify import FLOAT32, Parity, Tolerance, compare
from keras_retinanet.geometry.inference_settings import InferenceSettings

pytestmark = pytest.mark.usefixtures("small_resnet18")

SAME = Parity(1, 5, 0.0, 0.0, 0, 1.0, False)


@pytest.fixture(scope="module")
def model(make_finder, small_resnet18):
    return make_finder(inference=InferenceSettings(max_detections=3))


class Fixed:
    """Finds the same in every image."""

    def __init__(self, boxes, scores, classes, class_names=("cat", "dog", "élan")):
        self.class_names = class_names
        self.found = {
            "boxes": np.array(boxes, np.float64).reshape(-1, 4),
            "scores": np.array(scores, np.float64),
            "classes": np.array(classes, np.int32),
        }

    def detect_files(self, image_paths, heights, widths, *, batch_size=8):
        yield from ((i, self.found) for i in range(len(image_paths)))


A, B = (10, 10, 50, 50), (60, 60, 90, 90)
TRUE = ([A, B], [0.9, 0.5], [0, 1])


def parity_of(model, expected, found, monkeypatch, tolerance=FLOAT32):
    from keras_retinanet.export import verify

    monkeypatch.setattr(
        verify,
        "detect_files",
        lambda detector, *args, **options: (
            Fixed(*expected) if detector is model else detector
        ).detect_files(*args, **options),
    )
    return compare(model, Fixed(*found), tolerance=tolerance)


def test_the_same(model, monkeypatch):
    parity = parity_of(model, TRUE, TRUE, monkeypatch)
    assert parity == Parity(2, 4, 0.0, 0.0, 0, 1.0, True)
    parity.refuse_unless_within(FLOAT32)


@pytest.mark.parametrize(
    ("found", "differences"),
    [
        (([(10, 10, 50, 50.5), B], [0.9, 0.5], [0, 1]), {"box": 0.5}),
        (([A, B], [0.9, 0.51], [0, 1]), {"score": 0.01}),
        (([A, B], [0.9, 0.5], [0, 2]), {"num_mismatches": 2, "agreement": 0.5}),
        (([A], [0.9], [0]), {"num_mismatches": 2, "agreement": 2 / 3}),
        (([A, B, B], [0.9, 0.5, 0.5], [0, 1, 0]), {"num_mismatches": 2, "agreement": 0.8}),
        (([], [], []), {"num_mismatches": 2, "agreement": 0.0}),
        # A weak one more is no matter for `agreement`.
        (([A, B, B], [0.9, 0.5, 0.2], [0, 1, 0]), {"num_mismatches": 2, "agreement": 1.0}),
    ],
)
def test_differences(model, monkeypatch, found, differences):
    parity = parity_of(model, TRUE, found, monkeypatch)
    for name in ("box", "score", "num_mismatches"):
        assert getattr(parity, name) == pytest.approx(differences.get(name, 0)), name
    assert parity.agreement == pytest.approx(differences.get("agreement", 1.0))
    with pytest.raises(WeightsError, match="something else"):
        parity.refuse_unless_within(FLOAT32)


def test_equal_scores_may_change_places(model, monkeypatch):
    a = ([A, B], [0.5 + 1e-7, 0.5], [0, 1])
    b = ([B, A], [0.5 + 1e-7, 0.5], [1, 0])
    parity_of(model, a, b, monkeypatch).refuse_unless_within(FLOAT32)


def test_what_lies_at_the_threshold_may_be_there_or_not(model, monkeypatch):
    a = ([A, B], [0.9, model.inference.score_threshold + 1e-6], [0, 1])
    parity_of(model, a, ([A], [0.9], [0]), monkeypatch).refuse_unless_within(FLOAT32)
    # The last of `max_detections`, too.
    c = (0, 0, 9, 9)
    a = ([A, B, c], [0.9, 0.8, 0.7], [0, 1, 2])
    b = ([A, B, A], [0.9, 0.8, 0.7 + 1e-7], [0, 1, 2])
    parity_of(model, a, b, monkeypatch).refuse_unless_within(FLOAT32)


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"box": 0.011}, FLOAT32),
        ({"box": np.nan}, FLOAT32),
        ({"score": 2e-5}, FLOAT32),
        ({"num_mismatches": 1}, FLOAT32),
        ({"agreement": 0.8}, Tolerance(agreement=0.9)),
        ({"ap": 0.3, "model_ap": 0.31}, Tolerance(ap_drop=0.005)),
    ],
)
def test_tolerances(changes, tolerance):
    SAME.refuse_unless_within(tolerance)
    with pytest.raises(WeightsError, match="nothing is published"):
        dataclasses.replace(SAME, **changes).refuse_unless_within(tolerance)
    dataclasses.replace(SAME, **changes).refuse_unless_within(Tolerance())


def test_a_comparison_without_detections_says_how_little_it_shows(model, monkeypatch):
    nothing = ([], [], [])
    parity = parity_of(model, nothing, nothing, monkeypatch)
    assert "shows little: compare on images with objects" in str(parity)
    assert "shows little" not in str(parity_of(model, TRUE, nothing, monkeypatch))


@pytest.mark.parametrize("names", [("cat", "dog"), ("dog", "cat", "élan"), ("a", "b", "c", "d")])
def test_other_labels_are_refused(model, names):
    with pytest.raises(WeightsError, match="labels"):
        compare(model, Fixed(*TRUE, class_names=names))


def test_nan_is_refused(model):
    with pytest.raises(WeightsError, match="not finite"):
        compare(model, Fixed([A], [np.nan], [0]))


def test_unusable_image_is_named(model, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png"):
        compare(model, Fixed(*TRUE), [str(bad)])
