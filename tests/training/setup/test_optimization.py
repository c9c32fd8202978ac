"""What the config says about optimizer and learning rate arrives there."""

import pytest

from keras_retinanet.config.load import load_config
from keras_retinanet.optimizers.weight_decay import SGDWithL2
from keras_retinanet.training.setup.optimization import (
    OPTIMIZERS,
    count_epochs,
    make_optimizer,
    make_schedule,
    warn_of_length,
)


def test_schedule_counts_in_epochs_or_iterations():
    config = load_config("retinanet_r50_600")
    rate = make_schedule(config, steps_per_epoch=7330)
    expected = {500: 0.01, 59_999: 0.01, 60_000: 0.001, 80_000: 0.0001, 89_999: 0.0001}
    assert {step: pytest.approx(float(rate(step))) for step in expected} == expected
    assert count_epochs(config.schedule, 7330) == 13
    config = load_config(
        "retinanet_r50_600",
        ["schedule.unit=epochs", "schedule.length=12", "schedule.drops=[8,11]"],
    )
    rate = make_schedule(config, steps_per_epoch=1000)
    assert float(rate(7_999)) == pytest.approx(0.01)
    assert float(rate(8_000)) == pytest.approx(0.001)
    assert count_epochs(config.schedule, 1000) == 12


@pytest.mark.parametrize("unit", ["epochs", "iterations"])
def test_a_cosine_ends_with_the_training(unit):
    """An epoch is 50 iterations: the warm-up is in iterations whatever the unit."""
    settings = {"length": 4 if unit == "epochs" else 200, "unit": unit, "kind": "cosine"}
    settings |= {"warmup_iterations": 100, "warmup_start": 0.5}
    config = load_config("retinanet_r50_600", [f"schedule.{k}={v}" for k, v in settings.items()])
    rate = make_schedule(config, steps_per_epoch=50)
    expected = {0: 0.005, 50: 0.0075, 100: 0.01, 150: 0.005, 200: 0.0}
    found = {step: float(rate(step)) for step in expected}
    assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("settings", "longest"),
    [(("schedule.unit=iterations", "schedule.length=300"), 300), (("schedule.unit=epochs",
      "schedule.length=3"), 150)],
)  # fmt: skip
def test_a_warm_up_longer_than_the_training_is_told(settings, longest, caplog):
    def make(warmup):
        overrides = [*settings, f"schedule.warmup_iterations={warmup}"]
        config = load_config("retinanet_r50_600", overrides)
        return make_schedule(config, steps_per_epoch=50)

    assert float(make(longest)(longest)) == pytest.approx(0.01)
    assert caplog.text == ""
    make(longest + 1)
    assert f"longer than the training of {longest} iterations" in caplog.text


def test_learning_rate_scales_with_the_batch_by_choice():
    overrides = ["training.batch_size=8", "optimizer.learning_rate_batch_size=16"]
    config = load_config("retinanet_r50_600", overrides)
    assert float(make_schedule(config, 100)(1000)) == pytest.approx(0.005)


def test_paper_optimizer_is_sgd_with_l2():
    optimizer = make_optimizer(load_config("retinanet_r50_600"), 100)
    assert isinstance(optimizer, SGDWithL2)
    assert (optimizer.momentum, optimizer.l2) == (0.9, 1e-4)


def test_rates_of_the_backbone_reach_either_optimizer():
    for name in OPTIMIZERS:
        overrides = [f"optimizer.name={name}", "optimizer.backbone_rate=0.5"]
        config = load_config("quickstart", [*overrides, "optimizer.layer_decay=0.5"])
        rates = make_optimizer(config, 100).layer_rates
        assert rates["conv5_"] == 0.25 and rates["conv1_"] == 0.5**6


def test_a_length_of_very_many_epochs_is_told(caplog):
    schedule = load_config("retinanet_r50_600").schedule
    warn_of_length(schedule, 7330, 117_266)  # COCO: 13 epochs
    assert caplog.text == ""
    warn_of_length(schedule, 6, 48)
    assert "90,000 iterations are 15,000 epochs of your 48 images" in caplog.text
    told = "schedule.unit=epochs schedule.length=12 'schedule.drops=[8,11]'"
    assert told in caplog.text
    caplog.clear()
    changes = [text.strip("'") for text in told.split()]
    warn_of_length(load_config("retinanet_r50_600", changes).schedule, 6, 48)
    assert caplog.text == ""
    warn_of_length(load_config("retinanet_r50_600", ["schedule.kind=cosine"]).schedule, 6, 48)
    assert "schedule.length=12" in caplog.text and "drops" not in caplog.text


def test_a_length_in_epochs_is_never_told(caplog):
    changes = ["schedule.unit=epochs", "schedule.length=1000", "schedule.drops=[800]"]
    warn_of_length(load_config("retinanet_r50_600", changes).schedule, 6, 48)
    assert caplog.text == ""
