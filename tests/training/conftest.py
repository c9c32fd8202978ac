"""A small data set, and configs of a tiny model that trains on it."""

import pytest

from keras_retinanet.config.load import load_config
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset

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


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    path = write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=8, num_val=5)
    return load_dataset(path, "train"), load_dataset(path, "val")


@pytest.fixture(scope="session")
def tiny_config():
    def make(*overrides):
        return load_config("quickstart", [*TINY, *overrides])

    return make
