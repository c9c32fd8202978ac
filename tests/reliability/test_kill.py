"""SIGKILL at random moments, in processes of their own: the end is the same to the bit."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from keras_retinanet.models.checkpoint_files import list_checkpoints
from keras_retinanet.training.runs.run_directory import read_run

pytestmark = pytest.mark.slow

KILLS = 20
SETTINGS = (
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    "image.size=64",
    "schedule.length=30",
    "schedule.warmup_iterations=20",
    "optimizer.ema=0.95",
    "loss.normalizer=moving_average",
    "training.batch_size=4",
    "training.evaluate_every=7",
    "training.checkpoint_every=1",
    "training.deterministic=true",
    "inference.score_threshold=0.001",
)

SHORT = ("schedule.length=1", "schedule.warmup_iterations=1")


def start(*arguments, log):
    return subprocess.Popen(
        [sys.executable, "-m", "keras_retinanet.cli", "train", *map(str, arguments)],
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def new_run(folder, data):
    return ["quickstart", *SETTINGS, "--data", data, "--output", folder]


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            return False
    return True


def wait_for_other(checkpoints, newest, process):
    return wait_for(lambda: list_checkpoints(checkpoints)[-1:] != newest, process)


def test_killed_at_twenty_moments(demo_yaml, tmp_path, assert_same_end):
    """Faults 40 and 41."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    checkpoints = broken / "checkpoints"
    with open(tmp_path / "log.txt", "w") as log:
        assert start(*new_run(whole, demo_yaml), log=log).wait() == 0
        moments = random.Random(0)
        kills = while_writing = 0
        arguments = new_run(broken, demo_yaml)
        while kills < KILLS:
            newest = list_checkpoints(checkpoints)[-1:]
            process = start(*arguments, log=log)
            assert wait_for_other(checkpoints, newest, process), "no step was done"
            time.sleep(moments.uniform(0, 1.0))
            if kills % 2:
                wait_for(lambda: any(checkpoints.glob(".unfinished-*")), process, 10)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.returncode == -signal.SIGKILL, "the training is too short for this test"
            kills += 1
            while_writing += any(checkpoints.glob(".unfinished-*"))
            arguments = ["--resume", broken]
        assert while_writing, "none of the kills came while a checkpoint was written"
        assert start(*arguments, log=log).wait() == 0
    assert read_run(broken).is_finished
    assert_same_end(whole, broken)
    print(f"{kills} kills, {while_writing} of them while a checkpoint was written")


def test_stopping_by_signal_has_its_own_status(demo_yaml, tmp_path):
    """Faults 39, 45 and 48, as the shell sees them."""
    folder = tmp_path / "run"
    with open(tmp_path / "log.txt", "w+") as log:
        process = start(*new_run(folder, demo_yaml), "schedule.length=1000", log=log)
        assert wait_for(lambda: list_checkpoints(folder / "checkpoints"), process)
        second = start("--resume", folder, log=log)
        assert second.wait() == 2
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait() == 75
        last = list_checkpoints(folder / "checkpoints")[-1]
        assert start("--resume", folder, *SHORT, log=log).wait() == 0
        assert start("--resume", folder, *SHORT, log=log).wait() == 0
        log.seek(0)
        text = log.read()
    assert "is being written by process" in text
    assert "stopped by SIGTERM" in text and f"retinanet train --resume {folder}" in text
    assert f"going on from {last}" in text
    assert "nothing is left to do" in text
    assert "Traceback" not in text
