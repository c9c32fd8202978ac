"""The configs of recipes since the paper: each is planned and trains two steps of a tiny set."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config.load import load_config
from keras_retinanet.conventions import IGNORE
from keras_retinanet.losses import GIoULoss, QualityFocalLoss, SmoothL1
from keras_retinanet.training.setup import prepare
from keras_retinanet.training.setup.input_batches import make_plan
from keras_retinanet.training.setup.model_and_loss import make_anchor_generator, make_loss

pytestmark = pytest.mark.usefixtures("small_resnet18")

# What makes a recipe small; all that it says of matching, losses, norms and optimizer stays.
SMALL = (
    "model.weights=none",
    "model.fpn_channels=32",
    "model.head_channels=32",
    "model.head_depth=1",
    "image.size=64",
    "schedule.unit=iterations",
    "schedule.length=2",
    "schedule.warmup_iterations=1",
    "training.batch_size=4",
)
RESNET = ("model.backbone=resnet18", "image.jitter_sizes=[32,64]", "schedule.drops=[1]")
RECIPES = {
    "retinanet_v2_r50": RESNET,
    "retinanet_3x": RESNET,
    "atss_r50": ("model.backbone=resnet18", "schedule.drops=[1]"),
    "edge_320": ("model.width=0.35",),
}


@pytest.mark.parametrize("name", RECIPES)
def test_trains_two_steps(name, demo, monkeypatch):
    monkeypatch.setattr(prepare, "make_strategy", lambda *_, **__: tf.distribute.get_strategy())
    config = load_config(name, [*SMALL, *RECIPES[name]])
    setup = prepare.prepare(config, demo[0])
    assert setup.plan.steps_per_epoch == 2
    before = [np.array(weight) for weight in setup.model.trainable_weights]
    history = setup.model.fit(
        setup.batches(0, 0), steps_per_epoch=2, epochs=1, verbose=0, shuffle=False
    ).history
    assert np.isfinite(history["loss"]).all() and history["box_loss"][0] > 0
    after = [np.array(weight) for weight in setup.model.trainable_weights]
    moved = [abs(a - b).max() for a, b in zip(before, after, strict=True)]
    assert all(np.isfinite(moved)) and max(moved) > 1e-6


def test_torchvisions_second():
    config = load_config("retinanet_v2_r50")
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adamw", 1e-4)
    assert config.optimizer.weight_decay == 0.05
    assert (config.model.head_norm, config.model.p6_from) == ("group", "c5")
    assert (config.image.size, min(config.image.jitter_sizes)) == (800, 640)
    assert (config.schedule.unit, config.schedule.length) == ("epochs", 26)
    loss = make_loss(config)
    assert isinstance(loss.box_loss, GIoULoss) and loss.normalizer == "per_image"


def test_detectron2s_long_schedule():
    config = load_config("retinanet_3x")
    assert config.schedule.length == 3 * 90_000
    loss = make_loss(config)
    assert isinstance(loss.box_loss, SmoothL1) and loss.box_loss.beta == 0
    assert loss.normalizer == "moving_average"


@pytest.mark.parametrize(("name", "share"), [("atss_r50", 1 / 9), ("edge_320", 1 / 6)])
def test_one_anchor_a_cell(name, share):
    config = load_config(name)
    base = load_config("mobilenet_320" if name == "edge_320" else "retinanet_r50_800")
    ours, theirs = (
        sum(make_anchor_generator(c).num_anchors_per_level(640, 640)) for c in (config, base)
    )
    assert ours == pytest.approx(theirs * share)
    assert isinstance(make_loss(config).class_loss, QualityFocalLoss)


def test_atss_ignores_no_anchor_but_in_regions(demo):
    config = load_config("atss_r50", [*SMALL, *RECIPES["atss_r50"]])
    batches = prepare.make_batches(config, demo[0], make_plan(config, demo[0]))
    targets = next(iter(batches))[1]
    matches, has_objects = targets["matches"].numpy(), (targets["gt_labels"].numpy() >= 0).any(1)
    np.testing.assert_array_equal((matches >= 0).any(axis=1), has_objects)
    assert has_objects.any() and IGNORE not in matches
