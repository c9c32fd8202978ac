"""A small data set and a small training, to be broken off and gone on with."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config.load import load_config
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.models.checkpoint_files import newest_checkpoint
from keras_retinanet.training.setup import prepare

# Averages of the weights and of the positives, momenta of AdamW, a schedule: all kinds of state.
TINY = (
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    "image.size=64",
    "schedule.length=3",
    "schedule.warmup_iterations=2",
    "optimizer.ema=0.9",
    "loss.normalizer=moving_average",
    "training.batch_size=4",
    "training.evaluate_every=1",
    "training.checkpoint_every=1",
    "inference.score_threshold=0.001",
)
STEPS_PER_EPOCH = 3


@pytest.fixture(scope="session")
def demo_yaml(tmp_path_factory):
    return write_demo_dataset(
        tmp_path_factory.mktemp("reliability") / "set", num_train=4 * STEPS_PER_EPOCH, num_val=3
    )


@pytest.fixture(scope="session")
def demo(demo_yaml):
    return load_dataset(demo_yaml, "train"), load_dataset(demo_yaml, "val")


@pytest.fixture(scope="session")
def tiny_settings():
    return TINY


@pytest.fixture(scope="session")
def tiny_config():
    def make(*overrides):
        return load_config("quickstart", [*TINY, *overrides])

    return make


@pytest.fixture
def one_device(monkeypatch):
    monkeypatch.setattr(prepare, "make_strategy", lambda *_, **__: tf.distribute.get_strategy())


@pytest.fixture(scope="session")
def assert_same_end():
    """A function: two run directories -> their last checkpoints are the same to the bit."""

    def check(first, second):
        (_, one, _), (_, two, _) = (
            newest_checkpoint(run / "checkpoints") for run in (first, second)
        )
        assert one.arrays.keys() == two.arrays.keys()
        groups = {name.split("/")[0] for name in one.arrays}
        assert groups == {"model", "optimizer", "metrics"}
        for name, array in one.arrays.items():
            np.testing.assert_array_equal(array, two.arrays[name], err_msg=name)
        assert _without_times(one.state) == _without_times(two.state)

    return check


# What a clock measures, and no two trainings have alike.
TIMES = {
    "seconds",
    "step_seconds",
    "images_per_second",
    "data_wait",
    "memory_gb",
    "evaluation_seconds",
}


def _without_times(state):
    if isinstance(state, dict):
        return {
            key: _without_times(value)
            for key, value in state.items()
            if key not in TIMES and key != "Clock"
        }
    if isinstance(state, list):
        return [_without_times(value) for value in state]
    return "nan" if isinstance(state, float) and math.isnan(state) else state
