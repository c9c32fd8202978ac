import io

import pytest

from keras_retinanet.training.callbacks import progress_line
from keras_retinanet.training.callbacks.progress_line import ProgressLine, duration


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0:00"), (61.4, "1:01"), (3599.6, "1:00:00"), (7384, "2:03:04")]
)
def test_duration(seconds, expected):
    assert duration(seconds) == expected


def test_a_line_for_each_epoch(make_clock, drive):
    clock, stream = make_clock(), io.StringIO()
    line = ProgressLine(clock=clock, is_live=False, stream=stream)
    drive([clock, line], [4, 4], logs_of=lambda e: {"loss": 0.5, "AP": 0.25, "step_x": 1})
    first, second = stream.getvalue().splitlines()
    assert first.startswith("epoch 1/3  loss 0.5  AP 0.25  2 images/s  1 s/step  ")
    assert "GB  0:04 so far  0:08 left" in first
    assert "0:08 so far  0:04 left" in second


def test_a_live_line_is_written_over_and_not_wrapped(make_clock, drive, monkeypatch):
    monkeypatch.setattr(progress_line, "SECONDS_ON_TERMINAL", 0.0)
    monkeypatch.setenv("COLUMNS", "40")
    clock, stream = make_clock(), io.StringIO()
    line = ProgressLine(clock=clock, is_live=True, stream=stream)
    drive([clock, line], [4])
    states = stream.getvalue().split("\r")[1:]
    assert len(states) == 4 and stream.getvalue().count("\n") == 1
    assert states[1].startswith("epoch 1/3  step 2/4  0:10 left  loss 1")
    assert all(len(state) <= 39 for state in states[:3])
    line.say("stopped")
    assert stream.getvalue().endswith("\rstopped\n")


def test_the_length_is_told_once_when_the_pace_is_known(make_clock, drive):
    clock, stream = make_clock(steps_per_epoch=60), io.StringIO()
    line = ProgressLine(clock=clock, is_live=False, stream=stream)
    drive([clock, line], [60, 60])
    told = [text for text in stream.getvalue().splitlines() if "to go" in text]
    assert told == ["about 2:40 to go, evaluations not counted"]  # 160 steps of a second


def test_the_time_left_is_seen_at_80_columns(make_clock, drive, monkeypatch):
    monkeypatch.setattr(progress_line, "SECONDS_ON_TERMINAL", 0.0)
    monkeypatch.setenv("COLUMNS", "80")
    clock, stream = make_clock(num_epochs=15_000, steps_per_epoch=4000), io.StringIO()
    drive([clock, ProgressLine(clock=clock, is_live=True, stream=stream)], [9])
    assert " left" in stream.getvalue().split("\r")[8][:60]
