"""The whole of a training: what a run directory holds, and what stops a run."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config.load import load_config
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.errors import ConfigError, TrainingDiverged
from keras_retinanet.evaluation.evaluate import CocoEvaluator, evaluate
from keras_retinanet.models.checkpoint_files import read_checkpoint
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.training import strategies
from keras_retinanet.training import train as training
from keras_retinanet.training.best_thresholds import best_thresholds
from keras_retinanet.training.finders import batch_trial
from keras_retinanet.training.finders.batch_size import make_trial
from keras_retinanet.training.setup import prepare
from keras_retinanet.training.setup.input_batches import make_plan

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture
def one_device(monkeypatch):
    strategy = tf.distribute.get_strategy()
    monkeypatch.setattr(prepare, "make_strategy", lambda *_, **__: strategy)


@pytest.fixture(scope="module")
def finished(demo, tiny_config, tmp_path_factory, small_resnet18):
    """A run of two epochs on two replicas (the session has two logical CPUs)."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config(
        "optimizer.ema=0.9", "training.keep_checkpoints=1", "inference.thresholds=best"
    )
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
        "best_detections.json",
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


def test_best_model_has_the_thresholds_of_its_detections(finished, demo):
    folder = finished[0]
    results = json.loads((folder / "best_detections.json").read_text())
    expected = best_thresholds(CocoEvaluator.of_results(demo[1], results))
    assert load_model(folder / "best.keras").inference.thresholds == expected
    assert load_model(folder / "last.keras").inference.thresholds is None


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
    demo, tiny_config, tmp_path, monkeypatch, one_device
):
    make_batches = prepare.make_batches

    def poisoned(*args, **kwargs):
        # From the third step on, the first of the second epoch, a box has no size and no place.
        def poison(step, batch):
            images, targets = batch
            bad = tf.where(step >= 2, np.nan, 1.0)
            return images, {**targets, "gt_boxes": targets["gt_boxes"] * tf.cast(bad, tf.float32)}

        return make_batches(*args, **kwargs).enumerate().map(poison)

    monkeypatch.setattr(prepare, "make_batches", poisoned)
    config = tiny_config("schedule.length=3")
    with pytest.raises(TrainingDiverged) as error:
        training.train(config, demo[0], None, tmp_path, progress=False)
    plan = make_plan(config, demo[0])
    for image in plan.batch(1, 0):
        assert demo[0].image_paths[image] in str(error.value)
    assert "epoch 2, step 1" in str(error.value)
    good = tmp_path / "checkpoints" / "step_00000002.npz"
    assert str(good) in str(error.value)
    assert all(np.isfinite(w).all() for w in load_model(good).get_weights())
    assert not (tmp_path / "last.keras").exists()


def test_batch_that_cannot_be_split_is_refused(demo, tiny_config, tmp_path):
    with pytest.raises(ConfigError, match="multiple of the 2 devices"):
        training.train(tiny_config("training.batch_size=3"), demo[0], None, tmp_path)


def test_a_used_folder_is_refused_and_left_as_it_is(demo, tiny_config, finished):
    before = {path: path.stat().st_mtime_ns for path in finished[0].rglob("*")}
    with pytest.raises(ConfigError, match="is not empty: name a new folder"):
        training.train(tiny_config(), demo[0], None, str(finished[0]))
    assert {path: path.stat().st_mtime_ns for path in finished[0].rglob("*")} == before


def test_a_start_that_fails_leaves_no_folder(demo, tiny_config, tmp_path):
    for folder in (tmp_path / "new", tmp_path / "empty"):
        folder.name == "empty" and folder.mkdir()
        with pytest.raises(ConfigError, match="multiple of the 2 devices"):
            training.train(tiny_config("training.batch_size=3"), demo[0], None, str(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert not list((tmp_path / "empty").iterdir())


class TestSetup:
    """One way to put a training together: what a finder times is what trains."""

    def test_parts_of_a_setup(self, demo, tiny_config, one_device):
        config = tiny_config("training.accumulate=2", "schedule.length=3")
        setup = prepare.prepare(config, demo[0])
        assert setup.num_epochs == 3 and setup.plan.steps_per_epoch == 2
        assert setup.model.num_parts == 2 and setup.model.optimizer.built
        assert setup.batch_files(1, 0) == [demo[0].image_paths[i] for i in setup.plan.batch(1, 0)]
        images, targets = next(iter(setup.batches(1, 1)))
        again = next(iter(setup.batches(0, 0).skip(3)))
        np.testing.assert_array_equal(images, again[0])
        for name, value in targets.items():
            np.testing.assert_array_equal(value, again[1][name])

    def test_weights_to_begin_from_are_in_it(self, demo, tiny_config, finished, one_device):
        config = tiny_config(f"model.init_from={finished[0] / 'best.keras'}")
        setup = prepare.prepare(config, demo[0])
        best = load_model(finished[0] / "best.keras")
        for a, b in zip(setup.model.get_weights(), best.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert setup.transfer.classes_taken == demo[0].class_names

    def test_a_trial_s_step_is_the_training_s(self, demo, tiny_config, monkeypatch, one_device):
        """find-batch in its process: accumulation and XLA as the config says."""
        config = tiny_config("training.accumulate=2", "training.jit_compile=true")
        fitted = []

        def fit(model, batches, *, callbacks, **_):
            fitted.append(model)
            ((images, _),) = batches.take(1)
            assert images.shape == (4, 64, 64, 3)
            for batch in range(2):
                callbacks[0].on_train_batch_begin(batch)
                callbacks[0].on_train_batch_end(batch)

        monkeypatch.setattr(RetinaNet, "fit", fit)
        trial = make_trial(config, demo[0], 4)
        monkeypatch.setattr(
            strategies, "make_strategy", lambda *_, **__: tf.distribute.get_strategy()
        )
        assert batch_trial.run(trial)["fits"]
        (model,) = fitted
        assert model.num_parts == 2 and model.jit_compile
        assert type(model.optimizer).__name__ == "KernelAdamW"


def test_very_many_epochs_are_told_before_the_first_step(
    demo, tiny_config, tmp_path, caplog, one_device, monkeypatch
):
    monkeypatch.setattr(training, "_fit", lambda *_: None)
    settings = ("schedule.unit=iterations", "schedule.length=90000", "training.strategy=one_device")
    training.train(tiny_config(*settings), *demo, tmp_path / "run", progress=False)
    num_images = len(demo[0].image_paths)
    assert f"epochs of your {num_images} images" in caplog.text
