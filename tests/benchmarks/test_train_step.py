"""The parts of benchmarks/train_step.py whose figures nobody would notice to be wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.matching import match_anchors

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_flops_of_convolutions():
    import flops

    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv1_conv")(images)
    shared = keras.layers.Conv2D(5, 1, name="shared")
    outputs = [shared(x), shared(keras.layers.MaxPooling2D(2)(x))]
    model = keras.Model(images, outputs)
    first = 2 * (8 * 16) * (3 * 3 * 3 * 4)
    both = 2 * (8 * 16 + 4 * 8) * (4 * 5)
    assert flops.forward_flops(model, 16, 32) == first + both
    assert flops.training_flops(model, 16, 32) == 2 * first + 3 * both


@pytest.mark.slow
def test_flops_of_resnet50():
    """He et al. 2016, table 1: 3.8e9 multiply-adds at 224 px."""
    import flops

    model = keras.applications.ResNet50(include_top=False, weights=None)
    assert flops.forward_flops(model, 224, 224) / 2 == pytest.approx(3.8e9, rel=0.03)


def test_numpy_matches_as_tensorflow_does(rng, random_boxes):
    import step_worker_keras

    generator = AnchorGenerator()
    boxes = np.stack([random_boxes(rng, 7, 20.0, 120.0, 128, 160) for _ in range(3)])
    found = step_worker_keras.match_with_numpy(boxes, generator, 128, 160)
    for matches, objects in zip(found, boxes, strict=True):
        expected = match_anchors(
            tf.constant(objects),
            tf.zeros((0, 4)),
            anchor_generator=generator,
            height=128,
            width=160,
        )
        assert set(np.unique(expected)) >= {-2, -1}
        np.testing.assert_array_equal(matches, expected)
    assert (found >= 0).any()


@pytest.mark.slow
def test_the_whole_script():
    command = [sys.executable, str(BENCHMARKS / "train_step.py"), "--json", "--no-peer"]
    command += ["--backbones=resnet18", "--sizes=64x96", "--rounds=2", "--batch-sizes=1"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])["rows"]
    ours = row["ours"]
    assert ours["backend"] == keras.backend.backend() and not ours["compiled"]
    assert 0 < ours["share_of_peak"] < 1
    assert ours["images_per_second"] == pytest.approx(1 / ours["seconds"]["median"])
    assert ours["process_bytes"] > 2**27
    assert np.isfinite(ours["losses"]).all() and 0.01 < ours["losses"][0] < 20


@pytest.mark.slow
def test_a_worker_that_fails_is_told():
    command = [sys.executable, str(BENCHMARKS / "train_step.py"), "--json", "--no-peer"]
    command += ["--backbones=resnet1", "--sizes=64", "--batch-sizes=auto"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    (row,) = json.loads(done.stdout.splitlines()[-1])["rows"]  # no larger batch was tried
    assert "backbone must be one of" in row["ours"]["failed"]
