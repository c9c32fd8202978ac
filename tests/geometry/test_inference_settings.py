import dataclasses

import pytest

from keras_retinanet.geometry.inference_settings import InferenceSettings, with_inference_settings


def test_defaults_are_the_papers_and_cocos():
    defaults = (0.05, 1000, 0.5, 100, "before_nms", True, False, None, 0.5)
    assert dataclasses.astuple(InferenceSettings()) == defaults


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score_threshold": -0.1}, "score_threshold must be between 0 and 1, got -0.1"),
        ({"score_threshold": float("nan")}, "score_threshold must be between 0 and 1, got nan"),
        ({"nms_iou_threshold": 1.5}, "nms_iou_threshold must be between 0 and 1, got 1.5"),
        ({"pre_nms_top_k": 0}, "pre_nms_top_k must be a whole number of at least 1, got 0"),
        ({"box_quality_share": 1}, "box_quality_share must be between 0 and 0.9, got 1"),
        ({"box_quality_share": -0.1}, "box_quality_share must be between 0 and 0.9, got -0.1"),
        ({"max_detections": 2.5}, "max_detections must be a whole number of at least 1, got 2.5"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        InferenceSettings(**settings)


def test_thresholds():
    # A saved model's are a list.
    assert InferenceSettings(thresholds=[0.5, 1]).thresholds == (0.5, 1)
    with pytest.raises(ValueError, match="thresholds must be between 0 and 1"):
        InferenceSettings(thresholds=(0.5, 1.5))


def test_ends_of_the_ranges_are_allowed():
    InferenceSettings(score_threshold=0, pre_nms_top_k=1, nms_iou_threshold=1.0, max_detections=1)


class TestConfigsOfVersion010:
    FLAT = {"name": "x", "score_threshold": 0.3, "pre_nms_top_k": 7}
    FLAT |= {"nms_iou_threshold": 0.4, "max_detections": 9}

    def test_flat_settings_come_under_one_key(self):
        config = with_inference_settings(self.FLAT)
        assert config == {
            "name": "x",
            "inference": {k: self.FLAT[k] for k in self.FLAT if k != "name"},
        }
        assert InferenceSettings(**config["inference"]) == InferenceSettings(0.3, 7, 0.4, 9)
        assert "score_threshold" in self.FLAT  # what came in is left alone

    def test_what_is_as_today_stays(self):
        config = with_inference_settings(self.FLAT)
        assert with_inference_settings(config) == config
