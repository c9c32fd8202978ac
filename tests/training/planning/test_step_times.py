"""Steps are timed once for a data set, a machine and a network, in a process of their own."""

import json

import pytest

from keras_retinanet.config.load import load_config
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import UserError
from keras_retinanet.training.planning import step_times
from keras_retinanet.training.planning.step_times import StepTimer
from keras_retinanet.training.planning.step_trial import StepTimes

TIMES = StepTimes(start=1.0, step=0.5, evaluated=0.1, pixels=4096.0, peak_bytes=10)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=6, num_val=2)


@pytest.fixture
def timer(demo, make_resources, tmp_path):
    def make(**options):
        dataset = load_dataset(demo, "train")
        resources = options.pop("resources", make_resources())
        return StepTimer(str(demo), dataset, resources, folder=tmp_path / "times", **options)

    return make


@pytest.fixture
def asked(monkeypatch):
    trials = []

    def time(trial):
        trials.append(trial)
        return TIMES

    monkeypatch.setattr(step_times, "_time", time)
    return trials


def test_what_was_timed_is_remembered(timer, asked, make_resources):
    config = load_config("quickstart")
    assert timer()(config) == timer()(config) == TIMES
    assert len(asked) == 1
    timer()(load_config("quickstart", ["schedule.length=3", "inference.max_detections=7"]))
    assert len(asked) == 1  # no part of a step
    timer()(load_config("quickstart", ["image.size=64"]))
    assert len(asked) == 2
    timer(resources=make_resources(gpus=("A100",)))(config)
    assert len(asked) == 3
    timer(again=True)(config)
    assert len(asked) == 4


def test_a_damaged_memory_is_timed_anew(timer, asked, tmp_path):
    config = load_config("quickstart")
    timer()(config)
    (path,) = (tmp_path / "times").iterdir()
    path.write_text("{")
    assert timer()(config) == TIMES and len(asked) == 2
    assert json.loads(path.read_text())["step"] == 0.5


def test_weights_are_neither_fetched_nor_read_to_time_a_step(timer, asked):
    timer()(load_config("retinanet_r50_400"))
    assert asked[0].config["model"]["weights"] == "none"
    assert asked[0].config["model"]["batchnorm"] == "frozen"  # as it would be with them


def test_a_real_step(timer):
    """Times are positive; the canvas is that of the config: 64 px, images of 4:3 or 3:4."""
    tiny = ["model.backbone=mobilenet_v2", "model.width=0.35", "model.weights=none"]
    tiny += ["model.fpn_channels=8", "model.head_channels=8", "model.head_depth=1"]
    times = timer()(load_config("quickstart", [*tiny, "image.size=64", "image.max_size=96"]))
    assert min(times.start, times.step, times.evaluated, times.peak_bytes) > 0
    assert 64 * 64 <= times.pixels <= 96 * 96


def test_a_step_that_fails_is_told_in_one_line(timer, tmp_path):
    broken = timer()
    broken.data = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"a training step to be timed failed: .*nowhere") as caught:
        broken(load_config("quickstart"))
    assert "\n" not in str(caught.value)
