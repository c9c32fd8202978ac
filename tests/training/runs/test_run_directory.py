"""Run directories: one process at a time, which is named, and what was written is read again."""

import errno
import os
import subprocess
import sys

import pytest

from keras_retinanet.errors import ConfigError, TrainingDiverged, TrainingInterrupted
from keras_retinanet.system import locks
from keras_retinanet.training.runs.run_directory import (
    CONFIG_FILE,
    LOCK_FILE,
    RUN_FILE,
    Run,
    claimed,
    locked,
    read_run,
    write_run,
)

HOLDER = """
import sys, time
from pathlib import Path
from keras_retinanet.training.runs.run_directory import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_owner_is_named_until_it_ends(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        expected = f"written by process {process.pid} on .*name another folder"
        for _ in range(2):  # being refused changes nothing
            with pytest.raises(ConfigError, match=expected), locked(tmp_path):
                pass
        process.kill()
        process.wait()
    (tmp_path / ".unfinished-0123.tmp").write_text("as a killed process leaves it")
    with locked(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text().startswith(f"process {os.getpid()} on ")
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_a_file_system_without_locks_is_refused_in_one_line(tmp_path, monkeypatch):
    def no_locks(*_, **__):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(locks, "lock_descriptor", no_locks)
    expected = r"run\.lock cannot be locked \(Function not implemented\)"
    with pytest.raises(ConfigError, match=expected), locked(tmp_path):
        pass


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = Run(data="/data/x.yaml", train_images="0123", is_finished=True)
    write_run(tmp_path, run)
    with pytest.raises(ConfigError, match=f"holds no run to resume: .*{CONFIG_FILE}"):
        read_run(tmp_path)
    (tmp_path / CONFIG_FILE).write_text("")
    assert read_run(tmp_path) == run


@pytest.mark.parametrize("text", ["", "{", "[]", '{"data": null}', '{"other": 1}'])
def test_a_damaged_run_file_is_named(tmp_path, text):
    (tmp_path / CONFIG_FILE).write_text("")
    (tmp_path / RUN_FILE).write_text(text)
    with pytest.raises(ConfigError, match=rf"{RUN_FILE} cannot be read"):
        read_run(tmp_path)


def test_a_start_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with pytest.raises(ZeroDivisionError), claimed(tmp_path / name, resume=False):
            write_run(tmp_path / name, Run(None, "0123"), config="a: 1")
            (tmp_path / name / "tensorboard").mkdir()
            raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (ZeroDivisionError, "metrics.csv"),
        (KeyboardInterrupt, "checkpoints"),
        (TrainingInterrupted, RUN_FILE),
        (TrainingDiverged, RUN_FILE),
    ],
)
def test_what_can_be_gone_on_with_or_looked_at_stays(tmp_path, error, kept):
    with pytest.raises(error), claimed(tmp_path / "run", resume=False):
        (tmp_path / "run" / kept).write_text("")
        raise error("why")
    assert (tmp_path / "run" / kept).exists()


def test_the_run_of_another_process_is_left_alone(tmp_path):
    with claimed(tmp_path / "run", resume=False):
        with (
            pytest.raises(ConfigError, match="written by process"),
            claimed(tmp_path / "run", resume=False),
        ):
            pass
        assert (tmp_path / "run" / LOCK_FILE).exists()
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "run", resume=True):
        raise ZeroDivisionError
    assert (tmp_path / "run").exists()
