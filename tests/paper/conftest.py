"""A data set to run experiments on, and trainings that take no time."""

import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset


@pytest.fixture(scope="session")
def demo_yaml(tmp_path_factory):
    return write_demo_dataset(tmp_path_factory.mktemp("demo") / "data", num_train=6, num_val=3)


@pytest.fixture(scope="session")
def demo_sets(demo_yaml):
    return tuple(load_dataset(demo_yaml, split) for split in ("train", "val"))
