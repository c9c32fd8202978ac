"""A training that is broken off and goes on ends as one that was not: to the bit."""

import dataclasses
import errno
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.detection.model_files import load_model
from keras_retinanet.errors import (
    CheckpointError,
    ConfigError,
    TrainingDiverged,
    TrainingInterrupted,
)
from keras_retinanet.evaluation import evaluate as evaluation
from keras_retinanet.models.checkpoint_files import (
    checkpoint_path,
    list_checkpoints,
    read_checkpoint,
)
from keras_retinanet.training import train as training
from keras_retinanet.training.callbacks import save_checkpoints as saving
from keras_retinanet.training.runs.run_directory import locked, read_run
from keras_retinanet.training.runs.training_state import not_finite
from keras_retinanet.training.setup import optimization, prepare

pytestmark = pytest.mark.usefixtures("small_resnet18", "one_device")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the training runs after it."""


@pytest.fixture
def run(demo, tiny_config):
    def start(folder, *overrides, **options):
        return training.train(
            tiny_config(*overrides), *demo, folder, progress=False, data="data.yaml", **options
        )

    return start


@pytest.fixture
def after_step(monkeypatch):
    """A function: at the end of this step of the whole training, before it is saved, call this."""

    def arrange(step, action):
        seen = [0]
        original = saving.SaveCheckpoints.on_train_batch_end

        def patched(self, batch, logs=None):
            seen[0] += 1
            if seen[0] == step:
                action()
            original(self, batch, logs)

        monkeypatch.setattr(saving.SaveCheckpoints, "on_train_batch_end", patched)

    return arrange


def kill():
    raise Killed


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def whole(demo, tiny_config, tmp_path_factory, small_resnet18):
    """The run that nothing breaks off."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "make_strategy", lambda *_, **__: tf.distribute.get_strategy())
        training.train(tiny_config(), *demo, folder, progress=False, data="data.yaml")
    return folder


def test_broken_off_again_and_again(whole, run, after_step, tmp_path, assert_same_end, caplog):
    """Faults 39 to 42: kills, signals, a damaged checkpoint; within epochs and at their ends."""
    after_step(4, kill)
    with pytest.raises(Killed):
        run(tmp_path)
    checkpoints = tmp_path / "checkpoints"
    assert list_checkpoints(checkpoints)[-1] == checkpoint_path(checkpoints, 3)  # an epoch's end

    after_step(2, terminate)  # steps 4 and 5
    with pytest.raises(TrainingInterrupted, match="SIGTERM in epoch 2 after step 2") as stop:
        run(tmp_path, resume=True)
    assert f"retinanet train --resume {tmp_path}" in str(stop.value)
    newest = list_checkpoints(checkpoints)[-1]
    assert newest == checkpoint_path(checkpoints, 5)

    newest.write_bytes(newest.read_bytes()[:-100])
    after_step(2, lambda: os.kill(os.getpid(), signal.SIGINT))  # steps 5 and 6
    caplog.set_level("INFO", "keras_retinanet")
    with pytest.raises(TrainingInterrupted, match="SIGINT in epoch 2 after step 3"):
        run(tmp_path, resume=True)
    assert "step_00000005.npz is damaged" in caplog.text
    assert "step_00000004.npz: epoch 2 after step 1" in caplog.text
    # The epoch's steps are done and its evaluation is not.
    assert not read_run(tmp_path).is_finished

    run(tmp_path, resume=True)
    assert read_run(tmp_path).is_finished
    assert_same_end(whole, tmp_path)
    for name in ("last.keras", "best.keras"):
        pairs = zip(*(load_model(f / name).get_weights() for f in (whole, tmp_path)), strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "options",
    [
        ("anchors.matching=atss", "loss.class_loss=varifocal", "loss.box_loss=ciou"),
        ("anchors.matching=task_aligned", "model.box_quality=iou", "training.accumulate=2"),
    ],
    ids=["losses and matching", "box quality"],
)
def test_options_since_the_paper(run, after_step, tmp_path, assert_same_end, options):
    run(tmp_path / "whole", *options)
    columns = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert ("box_quality_loss" in columns) == ("model.box_quality=iou" in options)
    after_step(3, terminate)
    with pytest.raises(TrainingInterrupted):
        run(tmp_path / "broken", *options)
    run(tmp_path / "broken", *options, resume=True)
    assert_same_end(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.slow
def test_signal_ends_an_evaluation_at_once(whole, run, monkeypatch, tmp_path, assert_same_end):
    count = [0]

    def evaluate(*_, **__):
        count[0] += 1
        terminate()
        raise AssertionError("the evaluation went on")

    with monkeypatch.context() as patch:
        patch.setattr(evaluation.DatasetEvaluation, "run", evaluate)
        with pytest.raises(TrainingInterrupted, match="epoch 1 after step 3"):
            run(tmp_path)
    assert count == [1]
    run(tmp_path, resume=True)
    assert_same_end(whole, tmp_path)


def test_checkpoints_are_models_for_use(whole):
    path = list_checkpoints(whole / "checkpoints")[-1]
    model = load_model(path)
    assert model.class_names == load_model(whole / "last.keras").class_names
    # The last state's moving average of the weights, which is what the training left behind.
    for one, other in zip(model.get_weights(), load_model(whole / "last.keras").get_weights()):
        np.testing.assert_array_equal(one, other)
    raw = read_checkpoint(path).arrays["model/0000/conv1_conv/kernel"]
    assert np.abs(raw - model.get_layer("conv1_conv").kernel.numpy()).max() > 0
    with pytest.raises(CheckpointError, match="damaged"):
        broken = path.with_name("step_00000000.npz")
        broken.write_bytes(b"")
        load_model(broken)
    broken.unlink()


class TestRefusals:
    """Each before anything of the run is touched."""

    def test_another_architecture(self, whole, run):
        with pytest.raises(CheckpointError, match="fpn_channels was 8 and is 4"):
            run(whole, "model.fpn_channels=4", resume=True)

    def test_other_data(self, whole, demo, tiny_config):
        fewer = demo[0].select(range(11))
        with pytest.raises(CheckpointError, match=r"then 12 images.*now 11 images"):
            training.train(tiny_config(), fewer, None, whole, resume=True)

    def test_other_classes(self, whole, demo, tiny_config):
        names = ("other", *demo[0].class_names[1:])
        other = dataclasses.replace(demo[0], class_names=names)
        with pytest.raises(CheckpointError, match="training data are not those"):
            training.train(tiny_config(), other, None, whole, resume=True)

    def test_two_runs_on_one_directory(self, tmp_path, run):
        with locked(tmp_path), pytest.raises(ConfigError, match="written by process"):
            run(tmp_path)

    def test_a_folder_without_a_run(self, tmp_path, run):
        with pytest.raises(ConfigError, match="holds no run to resume"):
            run(tmp_path, resume=True)


def test_update_to_nan_keeps_the_last_good_state(demo, tiny_config, tmp_path, monkeypatch):
    """The loss is finite and the gradient is not."""
    config = tiny_config("optimizer.clip_norm=null", "loss.normalizer=global")
    original = optimization.make_schedule

    def explode(config, steps):
        rate = original(config, steps)
        rate.__class__ = Exploding
        return rate

    class Exploding(type(original(config, 3))):
        def __call__(self, step):
            return super().__call__(step) + keras.ops.where(step >= 4, np.inf, 0.0)

    monkeypatch.setattr(optimization, "make_schedule", explode)
    with pytest.raises(TrainingDiverged, match="last update of epoch 2, step 2") as error:
        training.train(config, demo[0], None, tmp_path, progress=False)
    newest = list_checkpoints(tmp_path / "checkpoints")[-1]
    assert newest.name == "step_00000004.npz" and str(newest) in str(error.value)
    assert not_finite(read_checkpoint(newest).arrays) is None
    assert not (tmp_path / "last.keras").exists()


@pytest.mark.slow
def test_disk_full_in_the_midst_of_training(demo, tiny_config, tmp_path, monkeypatch):
    original, count = np.savez, [0]

    def savez(*arguments, **arrays):
        count[0] += 1
        if count[0] >= 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(*arguments, **arrays)

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(CheckpointError, match=r"No space left.*--resume"):
        training.train(tiny_config(), demo[0], None, tmp_path, progress=False)
    names = [path.name for path in list_checkpoints(tmp_path / "checkpoints")]
    assert names == ["step_00000001.npz", "step_00000002.npz"]
    assert not (tmp_path / "last.keras").exists()
