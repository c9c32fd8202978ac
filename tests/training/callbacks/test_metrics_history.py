import csv
import json
import math

import numpy as np
import pytest

from keras_retinanet.training.callbacks import MetricsHistory


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


LOGS = [{"loss": 2.5}, {"loss": 1.5, "AP": 0.25}, {"loss": np.float32(0.5)}]


def test_columns_may_come_late_and_stay_empty(make_clock, drive, tmp_path):
    clock, path = make_clock(), tmp_path / "metrics.csv"
    drive([clock, MetricsHistory(path, clock=clock)], [4, 4, 4], logs_of=LOGS.__getitem__)
    rows = rows_of(path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["4", "8", "12"]
    assert [row["loss"] for row in rows] == ["2.5", "1.5", "0.5"]
    assert [row["AP"] for row in rows] == ["", "0.25", ""]
    assert list(rows[0])[:3] == ["epoch", "step", "loss"]
    assert float(rows[2]["seconds"]) == 12
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_come_through_json(make_clock, drive, tmp_path, value):
    clock, path = make_clock(), tmp_path / "metrics.csv"
    history = MetricsHistory(path, clock=clock)
    drive([clock, history], [4], logs_of=lambda e: {"loss": value})
    state = json.loads(json.dumps(history.get_state(), allow_nan=False))
    history.set_state(state)
    np.testing.assert_equal(float(rows_of(path)[0]["loss"]), value)


def test_an_evaluation_between_epochs_is_a_row(make_clock, drive, evaluation_of, tmp_path):
    clock, path = make_clock(), tmp_path / "metrics.csv"
    history = MetricsHistory(path, clock=clock)
    drive([clock, history], [4, 2])
    history.on_evaluation(evaluation_of(2, 6, 0.5))
    drive([clock, history], [2], first_epoch=1)
    history.on_evaluation(evaluation_of(2, 8, 0.5))  # at an epoch's end it is in its logs
    rows = rows_of(path)
    assert [(row["epoch"], row["step"], row["AP"], row["loss"]) for row in rows] == [
        ("1", "4", "", "1.0"),
        ("2", "6", "0.5", ""),
        ("2", "8", "", "1.0"),
    ]


def test_a_restart_drops_the_rows_after_its_state(make_clock, drive, tmp_path):
    clock, path = make_clock(), tmp_path / "metrics.csv"
    history = MetricsHistory(path, clock=clock)
    drive([clock, history], [4], logs_of=LOGS.__getitem__)
    place, states = clock.progress.place, (clock.get_state(), history.get_state())
    drive([clock, history], [4], first_epoch=1, logs_of=LOGS.__getitem__)
    before = path.read_text()
    clock = make_clock()
    history = MetricsHistory(path, clock=clock)
    clock.progress.go_on_from(*place)
    clock.set_state(states[0])
    history.set_state(states[1])
    assert [row["epoch"] for row in rows_of(path)] == ["1"]
    drive([clock, history], [4], first_epoch=1, logs_of=LOGS.__getitem__)
    assert path.read_text() == before


def test_a_broken_off_epoch_is_no_row(make_clock, drive, tmp_path):
    clock, path = make_clock(), tmp_path / "metrics.csv"
    drive([clock, MetricsHistory(path, clock=clock)], [4, 1])
    assert len(rows_of(path)) == 1
