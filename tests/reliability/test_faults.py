"""Faults before and during a training, at the command line: one line, status 2, and no hang."""

import itertools
from pathlib import Path

import keras
import pytest
import tensorflow as tf
import yaml

from keras_retinanet import training
from keras_retinanet.data.demo import write_demo_dataset

pytestmark = pytest.mark.usefixtures("small_resnet18")

TINY = (
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    "image.size=64",
    "schedule.length=1",
    "training.batch_size=4",
)


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

    monkeypatch.setattr(training, "build_model", build)


def test_an_empty_training_set_stops_before_the_model_is_built(refused, no_model, tmp_path):
    """Fault 37."""
    (tmp_path / "images").mkdir()
    (tmp_path / "train.json").write_text('{"images": [], "annotations": [], "categories": []}')
    splits = {"train": {"images": "images", "annotations": "train.json"}}
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump({"format": "coco", "splits": splits}))
    error = refused("train", "quickstart", "--data", data, "--output", tmp_path / "run", *TINY)
    assert "'train'" in error and str(data) in error
    assert not any((tmp_path / "run").iterdir())


def test_out_of_memory_names_what_to_lower(refused, demo_yaml, tmp_path, monkeypatch):
    """Fault 46."""

    def exhausted(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "fit", exhausted)
    error = refused("train", "quickstart", "--data", demo_yaml, "--output", tmp_path / "r", *TINY)
    assert "training.batch_size (now 4) or image.size (now 64)" in error


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
    """Fault 47."""
    output = tmp_path / "run"
    assert message in refused(
        "train", "quickstart", "--data", demo_yaml, "--output", output, setting
    )
    assert not output.exists()


def test_a_batch_larger_than_the_data_set_and_a_ragged_last_one(call, tmp_path, one_device):
    """Fault 49: five images, in a batch of eight, and measured in batches of four."""
    data = write_demo_dataset(tmp_path / "set", num_train=5, num_val=5)
    output = tmp_path / "run"
    sizes = ("training.batch_size=8", "schedule.warmup_iterations=0")
    assert call("train", "quickstart", "--data", data, "--output", output, *TINY, *sizes) == 0
    assert call("evaluate", output / "last.keras", "--data", data, "--batch-size", 4) == 0


def test_an_image_that_goes_bad_during_training_is_an_error_and_no_hang(
    refused, tmp_path, monkeypatch, one_device
):
    """Fault 50: what reads images is a thread of its own."""
    data = write_demo_dataset(tmp_path / "set", num_train=8, num_val=2)
    make_batches = training.make_batches

    lost = []

    def spoilt(config, train_set, plan, **settings):
        # After the check of the data set, before the first step.
        lost.append(train_set.image_paths[plan.batch(0, 0)[0]])
        Path(lost[0]).write_bytes(b"no image any more")
        return make_batches(config, train_set, plan, **settings)

    monkeypatch.setattr(training, "make_batches", spoilt)
    error = refused("train", "quickstart", "--data", data, "--output", tmp_path / "r", *TINY)
    assert f"{lost[0]}: not an image" in error
    assert "put them back; no checkpoint was saved before" in error


def test_an_exception_of_a_generator_surfaces(demo, tiny_config, tmp_path, monkeypatch, one_device):
    """Fault 50, of a pipeline in Python."""
    make_batches = training.make_batches

    def failing(*args, **settings):
        batches = make_batches(*args, **settings)

        def generate():
            yield from itertools.islice(batches, 1)
            raise OSError("the disk is gone")

        return tf.data.Dataset.from_generator(
            generate, output_signature=batches.element_spec
        ).prefetch(2)

    monkeypatch.setattr(training, "make_batches", failing)
    with pytest.raises(Exception, match="the disk is gone"):
        training.train(tiny_config(), *demo, tmp_path, progress=False)
    assert list((tmp_path / "checkpoints").glob("step_*.npz"))


def test_without_network_pretrained_weights_are_told_how_to_be_had(
    refused, demo_yaml, tmp_path, monkeypatch
):
    """Fault 51; that a GPU is not needed all tests show."""

    def unreachable(*_, **__):
        raise Exception("URL fetch failure: [Errno -3] Temporary failure in name resolution")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    error = refused(
        *("train", "retinanet_r50_600", "--data", demo_yaml, "--output", tmp_path / "run"),
        "training.batch_size=2",
    )
    assert "model.weights=none" in error
