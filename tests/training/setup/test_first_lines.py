"""What a training says before its first step."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from keras_retinanet.config.load import load_config
from keras_retinanet.training.setup import first_lines


def setup(config, *changes, replicas=1):
    return SimpleNamespace(
        config=load_config(config, changes),
        train_set=range(205),
        plan=SimpleNamespace(steps_per_epoch=52),
        num_epochs=23,
        strategy=SimpleNamespace(num_replicas_in_sync=replicas),
    )


def test_length():
    _, line = first_lines.first_lines(setup("own_images"), has_val=True)
    assert line == (
        "images: 205; epochs: 23; steps: 1,196 in batches of 4; epochs between evaluations: 6; "
        "early stopping by AP, patience 4"
    )


def test_a_scaled_learning_rate_is_told():
    changes = ("training.batch_size=8",)
    _, line = first_lines.first_lines(setup("retinanet_r50_600", *changes), has_val=False)
    assert line.endswith("in batches of 8; learning rate 0.005, 0.01 for 16 images scaled")


@pytest.mark.parametrize("value", ["", "-1"])
def test_hidden_gpus(monkeypatch, value):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert first_lines.why_no_gpu() == f"CUDA_VISIBLE_DEVICES={value} hides all"


def test_without_a_gpu_the_reason_is_told(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: False)
    line, _ = first_lines.first_lines(setup("own_images"), has_val=True)
    assert "no GPU: this TensorFlow is built without CUDA" in line
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    monkeypatch.setattr(first_lines.Path, "exists", lambda path: False)
    assert first_lines.why_no_gpu() == "the system has no NVIDIA driver"
    monkeypatch.setattr(first_lines.Path, "exists", lambda path: True)
    assert "CUDA's libraries" in first_lines.why_no_gpu()


def test_gpus_are_named(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a", "b"])
    details = {"device_name": "NVIDIA H100"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    line, _ = first_lines.first_lines(setup("own_images", replicas=2), has_val=True)
    assert line == "device: 2 GPU (NVIDIA H100, NVIDIA H100); batches are shared out over 2"
