import dataclasses
import json

import pytest

from keras_retinanet.config.load import load_config
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import UserError
from keras_retinanet.training.finders import batch_size as batch_finder
from keras_retinanet.training.finders.batch_size import (
    Try,
    largest_canvas,
    make_trial,
    search_largest,
    try_batch_size,
)
from keras_retinanet.training.setup.input_batches import make_plan


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=9, num_val=1)
    return load_dataset(path, "train")


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("most", [6, 7, 16, 41])
def test_the_search_finds_the_limit_whatever_it_is(step, most):
    for limit in range(most + 3):
        asked = []

        def attempt(size, asked=asked, limit=limit):
            asked.append(size)
            return Try(size, size <= limit)

        best, tries = search_largest(attempt, step=step, largest=most)
        expected = min(limit, most) // step * step
        assert best == (expected or None)
        assert [t.batch_size for t in tries] == asked
        assert len(set(asked)) == len(asked) <= 2 * most.bit_length()
        assert all(size % step == 0 and size <= most for size in asked)


def test_more_devices_than_images_are_told():
    with pytest.raises(UserError, match="multiples of 4"):
        search_largest(lambda size: Try(size, True), step=4, largest=3)


@pytest.mark.parametrize("resize", ["shorter_side", "square"])
def test_no_batch_of_the_plan_is_larger(demo, resize):
    config = load_config(
        "quickstart",
        [f"image.resize={resize}", "image.jitter_sizes=[64, 96, 128]", "training.batch_size=2"],
    )
    height, width = largest_canvas(config, demo)
    plan = make_plan(config, demo)
    sizes = [tuple(size) for epoch in range(8) for size in plan.epoch(epoch)["canvas_size"]]
    assert max(h for h, _ in sizes) == height
    assert max(w for _, w in sizes) == width


def test_a_trial_needs_no_weights_but_the_same_layers(demo):
    config = load_config("retinanet_r50_600")
    trial = make_trial(config, demo, 4)
    assert json.loads(batch_finder.as_json(trial))["batch_size"] == 4
    assert trial.config["training"]["batch_size"] == 4
    assert trial.config["model"]["weights"] == "none"
    assert trial.config["model"]["batchnorm"] == "frozen"
    assert trial.num_classes == 5 and trial.max_objects == demo.num_objects.max()


def fake_process(monkeypatch, code):
    """Trials run this Python code in place of training steps."""
    run = batch_finder.subprocess.Popen

    def popen(command, **options):
        return run([command[0], "-c", code], **options)

    monkeypatch.setattr(batch_finder.subprocess, "Popen", popen)


OUTCOMES = {
    "import sys; sys.stdin.read(); print('noise'); print('{\"fits\": true, "
    '"step_seconds": 0.5, "peak_bytes": 7}\')': Try(2, True, 0.5, 7),
    "print('{\"fits\": false}')": Try(2, False, reason="out of memory"),
    "import os; os.kill(os.getpid(), 9)": Try(2, False, reason="ended by signal 9"),
    "x = bytearray(600_000_000); import time; time.sleep(60)": Try(
        2, False, reason="more than 0.3 GB"
    ),
}


@pytest.mark.parametrize("code", OUTCOMES)
def test_what_can_come_of_a_process(demo, monkeypatch, code):
    fake_process(monkeypatch, code)
    trial = make_trial(load_config("quickstart"), demo, 2)
    assert try_batch_size(trial, 300_000_000) == OUTCOMES[code]


def test_another_failure_is_told(demo, monkeypatch):
    fake_process(monkeypatch, "raise SystemExit('ValueError: no such layer')")
    with pytest.raises(UserError, match="batch size 2 failed: ValueError: no such layer"):
        try_batch_size(make_trial(load_config("quickstart"), demo, 2), None)


@pytest.mark.slow
def test_the_largest_batch_within_a_limit(call, demo, tmp_path, capfd):
    path = write_demo_dataset(tmp_path / "set", num_train=64, num_val=1)
    tiny = ["image.size=128", "model.fpn_channels=32", "model.head_channels=32"]
    base = make_trial(load_config("quickstart", tiny), demo, 1)
    alone = try_batch_size(base, None)
    sixteen = try_batch_size(dataclasses.replace(base, batch_size=16), None)
    assert alone.fits and sixteen.fits and sixteen.peak_bytes > alone.peak_bytes + 2e8
    limit = (alone.peak_bytes + sixteen.peak_bytes) / 2 / 1e9
    verb = ("find-batch", "quickstart", *tiny, "--data", path, "--memory-limit", f"{limit:.3f}")
    assert call(*verb) == 0
    text = capfd.readouterr().out
    found = int(text.strip().splitlines()[-1].removeprefix("training.batch_size="))
    assert 2 <= found < 16
    assert "more than" in text and "fits" in text
