"""What the config says about model and loss arrives there."""

import pytest

from keras_retinanet.config.load import load_config
from keras_retinanet.config.schema import Config
from keras_retinanet.errors import ConfigError
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.atss import match_atss
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.inference_settings import InferenceSettings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.matching import match_regions
from keras_retinanet.losses import DetectionLoss
from keras_retinanet.models.variant import NetworkVariant
from keras_retinanet.training.setup import model_and_loss


def test_frozen_stages_of_a_config(small_resnet18, tiny_config):
    model = model_and_loss.build_model(tiny_config("model.frozen_stages=2"), ("a", "b"))
    assert not model.get_layer("conv2_block1_1_conv").trainable
    assert model.get_layer("conv3_block1_1_conv").trainable


CLASS_LOSSES = {
    "focal": {"name": "focal_loss", "gamma": 3.0, "alpha": 0.4},
    "focal_star": {"name": "focal_loss_star", "gamma": 4.0, "beta": 0.5, "alpha": 0.4},
    "softmax_focal": {"name": "softmax_focal_loss", "gamma": 3.0, "alpha": 0.4},
    "quality_focal": {"name": "quality_focal_loss", "beta": 3.0},
    "varifocal": {"name": "varifocal_loss", "alpha": 0.6, "gamma": 1.5},
    "cross_entropy": {"name": "balanced_cross_entropy", "alpha": None},
    "balanced_cross_entropy": {"name": "balanced_cross_entropy", "alpha": 0.4},
    "ohem": {"name": "ohem", "batch_size": 64, "nms_iou_threshold": 0.7},
    "ohem_1_3": {"name": "ohem_1_3", "batch_size": 64, "nms_iou_threshold": 0.7},
    "hinge": {"name": "hinge_loss", "threshold": 0.8, "alpha": None},
}
LOSS_SETTINGS = (
    "loss.gamma=3",
    "loss.alpha=0.4",
    "loss.star_gamma=4",
    "loss.star_beta=0.5",
    "loss.ohem_batch_size=64",
    "loss.ohem_nms_iou=0.7",
    "loss.hinge_threshold=0.8",
    "loss.quality_beta=3",
    "loss.varifocal_alpha=0.6",
    "loss.varifocal_gamma=1.5",
)


@pytest.mark.parametrize("name", model_and_loss.CLASS_LOSSES)
def test_class_loss_of_a_config(name):
    config = load_config("quickstart", [f"loss.class_loss={name}", *LOSS_SETTINGS])
    found = model_and_loss.make_loss(config).class_loss.get_config()
    assert CLASS_LOSSES[name].items() <= found.items()


@pytest.mark.parametrize(
    ("settings", "name", "expected"),
    [
        (["loss.box_loss=smooth_l1", "loss.smooth_l1_beta=0.3"], "smooth_l1", {"beta": 0.3}),
        (["loss.box_loss=l1", "loss.smooth_l1_beta=0.3"], "smooth_l1", {"beta": 0.0}),
        (["loss.box_loss=giou"], "giou_loss", {}),
        (["loss.box_loss=diou"], "diou_loss", {}),
        (["loss.box_loss=ciou"], "ciou_loss", {}),
    ],
)
def test_box_loss_of_a_config(settings, name, expected):
    loss = model_and_loss.make_loss(load_config("quickstart", [*settings, "loss.box_weight=2"]))
    found = loss.box_loss.get_config()
    assert found["name"] == name and expected.items() <= found.items()
    assert loss.box_weight == 2


def test_normalizer_of_a_config():
    config = load_config("quickstart", ["loss.normalizer=moving_average"])
    assert model_and_loss.make_loss(config).normalizer == "moving_average"


def test_only_the_softmax_loss_makes_a_softmax_model(small_resnet18, tiny_config):
    for name in model_and_loss.CLASS_LOSSES:
        config = tiny_config(f"loss.class_loss={name}")
        model = model_and_loss.build_model(config, ("a", "b"))
        assert model.class_activation == ("softmax" if name == "softmax_focal" else "sigmoid")


def test_what_other_projects_networks_need_reaches_the_model():
    config = Config(
        model={
            "backbone": "resnet18",
            "weights": "none",
            "head_norm": "batch",
            "head_norm_epsilon": 1e-4,
            "p6_from": "p5",
            "box_variances": [0.1, 0.1, 0.2, 0.2],
        },
        anchors={"offset": 0, "rounded": True, "integer_sizes": True, "step": "grid"},
        image={"resize": "square", "size": 64, "pixels": "float32", "pad_value": [1, 2, 3]},
        inference={"clip": "after_nms", "drop_empty": False, "nms_across_classes": True},
    )
    model = model_and_loss.build_model(config, ("a", "b"))
    assert model.variant == NetworkVariant(head_norm="batch", head_norm_epsilon=1e-4, p6_from="p5")
    assert model.anchor_generator == AnchorGenerator(
        offset=0.0, rounded=True, integer_sizes=True, step="grid"
    )
    assert model.input_policy == InputPolicy(
        "square", size=64, pixels="float32", pad_value=(1, 2, 3)
    )
    assert model.inference == InferenceSettings(
        clip="after_nms", drop_empty=False, nms_across_classes=True
    )
    assert model.box_coder == BoxCoder(variances=(0.1, 0.1, 0.2, 0.2))


def test_box_quality_of_a_config(small_resnet18, tiny_config):
    config = tiny_config(
        "model.box_quality=centerness",
        "loss.box_quality_weight=2",
        "inference.box_quality_share=0.3",
    )
    model = model_and_loss.build_model(config, ("a", "b"))
    assert model.box_quality == "centerness" and model.inference.box_quality_share == 0.3
    assert model_and_loss.make_loss(config).box_quality_weight == 2
    plain = tiny_config()
    assert model_and_loss.build_model(plain, ("a", "b")).box_quality == "none"
    assert model_and_loss.make_loss(plain).box_quality_weight == 1
    for matching in model_and_loss.LOSSES:
        config = tiny_config(f"anchors.matching={matching}", "loss.box_quality_weight=2")
        assert model_and_loss.make_loss(config).box_quality_weight == 2


@pytest.mark.parametrize("name", sorted(model_and_loss.CLASS_LOSSES))
def test_quality_counts_once(name, tiny_config):
    settings = f"loss.class_loss={name}", "model.box_quality=iou"
    if name not in ("quality_focal", "varifocal"):
        tiny_config(*settings)
        return
    message = (
        rf"model.box_quality = iou does not go with loss.class_loss = {name}, whose scores tell "
        "the quality of the box already"
    )
    with pytest.raises(ConfigError, match=message):
        tiny_config(*settings)


def test_defaults_of_the_config_are_those_of_the_parts():
    config = Config()
    assert model_and_loss.make_anchor_generator(config) == AnchorGenerator()
    assert model_and_loss.make_input_policy(config) == InputPolicy()
    assert InferenceSettings(**config.inference.model_dump()) == InferenceSettings()
    assert BoxCoder(variances=config.model.box_variances) == BoxCoder()


@pytest.mark.parametrize(
    ("given", "expected"),
    [("none", False), (False, False), (True, True), ("best", "best"), ("own_best", "own_best")],
)
def test_ways_to_force_matches(given, expected):
    assert Config(anchors={"force_match": given}).anchors.force_match == expected


def test_matching_of_a_config():
    assert model_and_loss.make_matching(Config()) is None
    settings = {"matching": "atss", "atss_candidates": 4, "force_match": True}
    matching = model_and_loss.make_matching(Config(anchors=settings))
    assert matching.func is match_atss
    assert matching.keywords == {"candidates": 4, "force_match": True}


def test_task_aligned_matching_is_the_loss_part_and_only_regions_are_the_datas():
    assert type(model_and_loss.make_loss(Config())) is DetectionLoss
    settings = {"matching": "task_aligned", "task_aligned_alpha": 0.5, "task_aligned_beta": 4}
    config = Config(anchors={**settings, "task_aligned_candidates": 9, "force_match": "best"})
    expected = {"alpha": 0.5, "beta": 4.0, "candidates": 9, "force_match": True}
    assert model_and_loss.make_loss(config).matching.get_config() == expected
    assert model_and_loss.make_matching(config) is match_regions


@pytest.mark.parametrize("matching", ["atss", "task_aligned"])
def test_only_iou_forces_no_other_objects_anchors(matching):
    with pytest.raises(ValueError, match="force_match = own_best goes with matching = iou"):
        Config(anchors={"matching": matching, "force_match": "own_best"})
