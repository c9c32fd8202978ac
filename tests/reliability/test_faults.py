"""Faults before and during a training, at the command line: one line, status 2, and no hang."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.detection.model_files import load_model
from keras_retinanet.training import train as training
from keras_retinanet.training.setup import prepare

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture
def refused(call, capfd):
    """A function: arguments -> the one line of the error."""

    def run(*arguments):
        assert call(*arguments) == 2
        errors = [line for line in capfd.readouterr().err.splitlines() if "error: " in line]
        assert len(errors) == 1
        return errors[0]

    return run


@pytest.fixture
def no_model(monkeypatch):
    def build(*_, **__):
        pytest.fail("the model was built")

    monkeypatch.setattr(prepare, "build_model", build)


def test_an_empty_training_set_stops_before_the_model_is_built(
    refused, no_model, tiny_settings, tmp_path
):
    (tmp_path / "images").mkdir()
    (tmp_path / "train.json").write_text('{"images": [], "annotations": [], "categories": []}')
    splits = {"train": {"images": "images", "annotations": "train.json"}}
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump({"format": "coco", "splits": splits}))
    error = refused(
        "train", "quickstart", "--data", data, "--output", tmp_path / "run", *tiny_settings
    )
    assert "'train'" in error and str(data) in error
    assert not (tmp_path / "run").exists()


def test_out_of_memory_names_what_to_lower(
    refused, demo_yaml, tiny_settings, tmp_path, monkeypatch
):
    def exhausted(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "fit", exhausted)
    error = refused(
        "train", "quickstart", "--data", demo_yaml, "--output", tmp_path / "r", *tiny_settings
    )
    assert "training.batch_size (now 4) or image.size (now 64)" in error
    assert not (tmp_path / "r").exists()  # nothing was saved that could be gone on with


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer.learning_rat=0.1", "did you mean 'optimizer.learning_rate'"),
        ("optimizer.name=adamm", "'adamw'"),
        ("training.batch_size=four", "training.batch_size"),
    ],
)
def test_a_typo_is_told_before_anything_is_read(
    refused, no_model, setting, message, demo_yaml, tmp_path
):
    output = tmp_path / "run"
    assert message in refused(
        "train", "quickstart", "--data", demo_yaml, "--output", output, setting
    )
    assert not output.exists()


def test_the_same_seed_is_the_same_training(demo, tiny_config, tmp_path, one_device):
    """Faults 49 and 52: 12 images in batches of 16, without validation, twice."""
    config = tiny_config(
        "training.batch_size=16", "schedule.length=1", "schedule.warmup_iterations=0"
    )
    losses, weights = [], []
    for name in ("one", "other"):
        training.train(config, demo[0], None, tmp_path / name, progress=False)
        with open(tmp_path / name / "metrics.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        losses.append(float(row["loss"]))
        assert "AP" not in row
        for file in ("best", "last"):
            weights.append(load_model(tmp_path / name / f"{file}.keras").get_weights())
    assert np.isfinite(losses[0]) and losses[0] == pytest.approx(losses[1], rel=1e-5)
    for arrays in zip(*weights, strict=True):
        for array in arrays[1:]:
            np.testing.assert_allclose(array, arrays[0], rtol=1e-4, atol=1e-6)


def test_an_image_that_goes_bad_during_training_is_an_error_and_no_hang(
    refused, tiny_settings, tmp_path, monkeypatch, one_device
):
    """What reads images is a thread of its own, whose error must not be lost."""
    data = write_demo_dataset(tmp_path / "set", num_train=8, num_val=2)
    make_batches = prepare.make_batches

    lost = []

    def spoilt(config, train_set, plan, **settings):
        # After the check of the data set, before the first step.
        lost.append(train_set.image_paths[plan.batch(0, 0)[0]])
        Path(lost[0]).write_bytes(b"no image any more")
        return make_batches(config, train_set, plan, **settings)

    monkeypatch.setattr(prepare, "make_batches", spoilt)
    error = refused(
        "train", "quickstart", "--data", data, "--output", tmp_path / "r", *tiny_settings
    )
    assert f"{lost[0]}: not an image" in error
    assert "put them back; no checkpoint was saved before" in error


def test_without_network_pretrained_weights_are_told_how_to_be_had(
    refused, demo_yaml, tmp_path, monkeypatch
):
    """That no GPU is needed all tests show."""

    def unreachable(*_, **__):
        raise Exception("URL fetch failure: [Errno -3] Temporary failure in name resolution")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    error = refused(
        *("train", "retinanet_r50_600", "--data", demo_yaml, "--output", tmp_path / "run"),
        "training.batch_size=2",
    )
    assert "model.weights=none" in error


def test_a_start_that_fails_leaves_no_numbered_folder(refused, demo_yaml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("here before")
    refused("train", "quickstart", "--data", tmp_path / "no.yaml")
    # Known only when the callbacks are made, after the run's first files.
    refused("train", "quickstart", "--data", demo_yaml, "training.callbacks=[no.such.Callback]")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
