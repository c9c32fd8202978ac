"""The whole of a training: what a run directory holds, and what stops a run."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config.load import load_config
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.errors import ConfigError, TrainingDiverged
from keras_retinanet.evaluation.evaluate import evaluate
from keras_retinanet.models.checkpoint_files import read_checkpoint
from keras_retinanet.optimizers.weight_decay import SGDWithL2
from keras_retinanet.training import setup as builders
from keras_retinanet.training import train as training

pytestmark = pytest.mark.usefixtures("small_resnet18")

TINY = (
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    "image.size=64",
    "schedule.length=2",
    "schedule.warmup_iterations=2",
    "training.batch_size=4",
    "training.evaluate_every=1",
    "inference.score_threshold=0.001",
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=8, num_val=5)
    return load_dataset(path, "train"), load_dataset(path, "val")


@pytest.fixture
def one_device(monkeypatch):
    strategy = tf.distribute.get_strategy()
    monkeypatch.setattr(training, "make_strategy", lambda *_, **__: strategy)


def tiny_config(*overrides):
    return load_config("quickstart", [*TINY, *overrides])


@pytest.fixture(scope="module")
def finished(demo, tmp_path_factory, small_resnet18):
    """A run of two epochs on two replicas (the session has two logical CPUs)."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config("optimizer.ema=0.9", "training.keep_checkpoints=1")
    model = training.train(config, *demo, folder, progress=False)
    return folder, config, model


def rows_of(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_run_directory_is_complete(finished):
    folder, config, _ = finished
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "anchor_recall.json",
        "best.keras",
        "checkpoints",
        "config.yaml",
        "data_findings.json",
        "environment.json",
        "last.keras",
        "metrics.csv",
        "run.json",
        "run.lock",
        "tensorboard",
    }
    assert load_config(folder / "config.yaml") == config
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["step_00000004.npz"]
    assert any((folder / "tensorboard").rglob("events.out.tfevents.*"))


def test_environment_tells_versions_and_devices(finished):
    environment = json.loads((finished[0] / "environment.json").read_text())
    assert environment["packages"]["tensorflow"] == tf.__version__
    assert environment["packages"]["keras"] == keras.__version__
    assert len(environment["devices"]) == 2


def test_metrics_have_a_row_for_each_epoch(finished):
    rows = rows_of(finished[0])
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row in rows:
        total = float(row["class_loss"]) + float(row["box_loss"])
        assert float(row["loss"]) == pytest.approx(total, rel=1e-4)
        assert 0 <= float(row["AP"]) <= float(row["AP50"]) <= 1


def test_best_model_is_the_one_that_was_measured(finished, demo):
    metrics, _ = evaluate(load_model(finished[0] / "best.keras"), demo[1])
    # Measured on two replicas there: other batches round otherwise, and change the order of the
    # nearly equal scores of a model that has learnt nothing yet.
    assert metrics["AP"] == pytest.approx(
        max(float(row["AP"]) for row in rows_of(finished[0])), abs=5e-4
    )


def test_last_model_equals_the_returned_one(finished, demo):
    folder, _, model = finished
    loaded = load_model(folder / "last.keras")
    assert loaded.class_names == demo[0].class_names
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_checkpoint_holds_the_optimizer_and_models_for_use_do_not(finished):
    folder = finished[0]
    checkpoint = folder / "checkpoints" / "step_00000004.npz"
    iterations = [a for n, a in read_checkpoint(checkpoint).arrays.items() if "iteration" in n]
    assert iterations == [4]
    assert not load_model(folder / "best.keras").compiled
    assert (folder / "best.keras").stat().st_size < 0.5 * checkpoint.stat().st_size


def test_nan_loss_stops_and_names_images_and_last_good_state(
    demo, tmp_path, monkeypatch, one_device
):
    make_batches = training.make_batches

    def poisoned(*args, **kwargs):
        # From the third step on, the first of the second epoch, a box has no size and no place.
        def poison(step, batch):
            images, targets = batch
            bad = tf.where(step >= 2, np.nan, 1.0)
            return images, {**targets, "gt_boxes": targets["gt_boxes"] * tf.cast(bad, tf.float32)}

        return make_batches(*args, **kwargs).enumerate().map(poison)

    monkeypatch.setattr(training, "make_batches", poisoned)
    config = tiny_config("schedule.length=3")
    with pytest.raises(TrainingDiverged) as error:
        training.train(config, demo[0], None, tmp_path, progress=False)
    plan = builders.make_plan(config, demo[0])
    for image in plan.batch(1, 0):
        assert demo[0].image_paths[image] in str(error.value)
    assert "epoch 2, step 1" in str(error.value)
    good = tmp_path / "checkpoints" / "step_00000002.npz"
    assert str(good) in str(error.value)
    assert all(np.isfinite(w).all() for w in load_model(good).get_weights())
    assert not (tmp_path / "last.keras").exists()


def test_batch_that_cannot_be_split_is_refused(demo, tmp_path):
    with pytest.raises(ConfigError, match="multiple of the 2 devices"):
        training.train(tiny_config("training.batch_size=3"), demo[0], None, tmp_path)


def test_schedule_counts_in_epochs_or_iterations():
    config = load_config("retinanet_r50_600")
    rate = builders.make_schedule(config, steps_per_epoch=7330)
    expected = {500: 0.01, 59_999: 0.01, 60_000: 0.001, 80_000: 0.0001, 89_999: 0.0001}
    assert {step: pytest.approx(float(rate(step))) for step in expected} == expected
    assert builders.count_epochs(config.schedule, 7330) == 13
    config = load_config(
        "retinanet_r50_600",
        ["schedule.unit=epochs", "schedule.length=12", "schedule.drops=[8,11]"],
    )
    rate = builders.make_schedule(config, steps_per_epoch=1000)
    assert float(rate(7_999)) == pytest.approx(0.01)
    assert float(rate(8_000)) == pytest.approx(0.001)
    assert builders.count_epochs(config.schedule, 1000) == 12


@pytest.mark.parametrize("unit", ["epochs", "iterations"])
def test_a_cosine_ends_with_the_training(unit):
    """An epoch is 50 iterations: the warm-up is in iterations whatever the unit."""
    settings = {"length": 4 if unit == "epochs" else 200, "unit": unit, "kind": "cosine"}
    settings |= {"warmup_iterations": 100, "warmup_start": 0.5}
    config = load_config("retinanet_r50_600", [f"schedule.{k}={v}" for k, v in settings.items()])
    rate = builders.make_schedule(config, steps_per_epoch=50)
    expected = {0: 0.005, 50: 0.0075, 100: 0.01, 150: 0.005, 200: 0.0}
    found = {step: float(rate(step)) for step in expected}
    assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("settings", "longest"),
    [(("schedule.unit=iterations", "schedule.length=300"), 300), (("schedule.unit=epochs",
      "schedule.length=3"), 150)],
)  # fmt: skip
def test_a_warm_up_longer_than_the_training_is_told(settings, longest, capsys):
    def make(warmup):
        overrides = [*settings, f"schedule.warmup_iterations={warmup}"]
        config = load_config("retinanet_r50_600", overrides)
        return builders.make_schedule(config, steps_per_epoch=50)

    assert float(make(longest)(longest)) == pytest.approx(0.01)
    assert capsys.readouterr().err == ""
    make(longest + 1)
    assert f"longer than the training of {longest} iterations" in capsys.readouterr().err


def test_learning_rate_scales_with_the_batch_by_choice():
    overrides = ["training.batch_size=8", "optimizer.learning_rate_batch_size=16"]
    config = load_config("retinanet_r50_600", overrides)
    assert float(builders.make_schedule(config, 100)(1000)) == pytest.approx(0.005)


def test_paper_optimizer_is_sgd_with_l2():
    optimizer = builders.make_optimizer(load_config("retinanet_r50_600"), 100)
    assert isinstance(optimizer, SGDWithL2)
    assert (optimizer.momentum, optimizer.l2) == (0.9, 1e-4)


def test_rates_of_the_backbone_reach_either_optimizer():
    for name in builders.OPTIMIZERS:
        overrides = [f"optimizer.name={name}", "optimizer.backbone_rate=0.5"]
        config = load_config("quickstart", [*overrides, "optimizer.layer_decay=0.5"])
        rates = builders.make_optimizer(config, 100).layer_rates
        assert rates["conv5_"] == 0.25 and rates["conv1_"] == 0.5**6


def test_frozen_stages_of_a_config(small_resnet18):
    model = builders.build_model(tiny_config("model.frozen_stages=2"), ("a", "b"))
    assert not model.get_layer("conv2_block1_1_conv").trainable
    assert model.get_layer("conv3_block1_1_conv").trainable


CLASS_LOSSES = {
    "focal": {"name": "focal_loss", "gamma": 3.0, "alpha": 0.4},
    "focal_star": {"name": "focal_loss_star", "gamma": 4.0, "beta": 0.5, "alpha": 0.4},
    "softmax_focal": {"name": "softmax_focal_loss", "gamma": 3.0, "alpha": 0.4},
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
)


@pytest.mark.parametrize("name", builders.CLASS_LOSSES)
def test_class_loss_of_a_config(name):
    config = load_config("quickstart", [f"loss.class_loss={name}", *LOSS_SETTINGS])
    found = builders.make_loss(config).class_loss.get_config()
    assert CLASS_LOSSES[name].items() <= found.items()


@pytest.mark.parametrize(
    ("settings", "name", "expected"),
    [
        (["loss.box_loss=smooth_l1", "loss.smooth_l1_beta=0.3"], "smooth_l1", {"beta": 0.3}),
        (["loss.box_loss=l1", "loss.smooth_l1_beta=0.3"], "smooth_l1", {"beta": 0.0}),
        (["loss.box_loss=giou"], "giou_loss", {}),
    ],
)
def test_box_loss_of_a_config(settings, name, expected):
    loss = builders.make_loss(load_config("quickstart", [*settings, "loss.box_weight=2"]))
    found = loss.box_loss.get_config()
    assert found["name"] == name and expected.items() <= found.items()
    assert loss.box_weight == 2


def test_normalizer_of_a_config():
    config = load_config("quickstart", ["loss.normalizer=moving_average"])
    assert builders.make_loss(config).normalizer == "moving_average"


def test_only_the_softmax_loss_makes_a_softmax_model(small_resnet18):
    for name in builders.CLASS_LOSSES:
        config = load_config("quickstart", [*TINY, f"loss.class_loss={name}"])
        model = builders.build_model(config, ("a", "b"))
        assert model.class_activation == ("softmax" if name == "softmax_focal" else "sigmoid")


class TestBatches:
    """What the config says about the batches arrives in the plan and the pipeline."""

    def test_the_plan_draws_partners_and_repeats(self, demo):
        plan = builders.make_plan(tiny_config("augment.preset=strong"), demo[0])
        assert (plan.mosaic, plan.mixup) == (0.2, 0.1)
        assert plan.repeats is None
        plan = builders.make_plan(tiny_config("training.repeat_threshold=1"), demo[0])
        assert (plan.mosaic, plan.mixup) == (0, 0)
        assert len(plan.repeats) == 8 and plan.repeats.max() > 1

    def test_a_batch_s_files_name_the_partners(self, demo):
        config = tiny_config("augment.mosaic=1")
        plan = builders.make_plan(config, demo[0])
        named = builders.planned_files(config, demo[0], plan, 0, 1)
        assert named == [demo[0].image_paths[i] for i in plan.batch(0, 1)]
        assert len(named) == 4 * 4
        config = tiny_config("training.data_service='grpc://localhost:1'")
        assert builders.planned_files(config, demo[0], plan, 0, 1) is None

    def test_settings_reach_the_pipeline(self, demo, tmp_path, monkeypatch):
        given = {}
        monkeypatch.setattr(builders, "training_batches", lambda *_, **k: given.update(k))
        config = tiny_config(
            "augment.preset=default",
            "augment.hue=3",
            "training.cache=disk",
            f"training.cache_folder={tmp_path / 'c'}",
        )
        builders.make_batches(config, demo[0], builders.make_plan(config, demo[0]))
        assert given["augmentation"].hue == 3
        assert given["augmentation"].scale == (0.6, 1.4)
        assert given["cache"].files[0].parent == tmp_path / "c"
        assert (given["data_service"], given["num_epochs"]) == (None, None)
        config = tiny_config("training.data_service='grpc://localhost:1'")
        builders.make_batches(config, demo[0], builders.make_plan(config, demo[0]))
        assert given["cache"] is None
        assert given["data_service"] == "grpc://localhost:1"
        assert given["num_epochs"] == 2
