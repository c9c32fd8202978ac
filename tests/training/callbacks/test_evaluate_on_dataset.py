"""When it evaluates, and what it keeps; what it measures is tested with a real model elsewhere."""

import contextlib
import json
from pathlib import Path

import pytest

from keras_retinanet.training.callbacks import EvaluateOnDataset, MetricsHistory, RunCallback
from keras_retinanet.training.callbacks import evaluate_on_dataset as module
from keras_retinanet.training.runs.run_directory import BEST_DETECTIONS_FILE


@pytest.fixture
def aps(monkeypatch):
    """What evaluations will measure, in order; saved models are noted beside it."""
    queue, saved = [], []

    class Measured:
        results = ()

        def __init__(self, model, dataset, *, batch_size):
            pass

        def run(self):
            return self

        def metrics(self):
            ap = queue.pop(0)
            return {"AP": ap, "AP50": ap, "AP75": None}

    monkeypatch.setattr(module, "DatasetEvaluation", Measured)
    monkeypatch.setattr(module, "save_for_inference", lambda model, path: saved.append(path))
    monkeypatch.setattr(module, "write_results", lambda results, path: saved.append(path))
    queue_and_saved = queue, saved
    return queue_and_saved


class Notes(RunCallback):
    def __init__(self):
        super().__init__()
        self.steps = []

    def on_evaluation(self, evaluation):
        self.steps.append(evaluation.step)


def make(clock, notes, **settings):
    settings = {"every_epochs": 1, "best_path": Path("best"), **settings}
    return EvaluateOnDataset(None, clock=clock, batch_size=1, listeners=[notes], **settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"every_epochs": 2}, [8, 16, 20]),  # the last epoch always
        ({"every_epochs": 9}, [20]),
        ({"every_epochs": 1, "every_steps": 3}, [3, 6, 9, 12, 15, 18, 20]),
        ({"every_steps": 7}, [7, 14, 20]),
        ({"every_steps": 4}, [4, 8, 12, 16, 20]),
    ],
)
@pytest.mark.parametrize("cut", [None, 5, 7, 8])
def test_when(make_clock, drive, aps, settings, expected, cut):
    aps[0].extend([0.5] * 20)
    notes = Notes()
    if cut is None:
        clock = make_clock(num_epochs=5)
        ends = drive([clock, make(clock, notes, **settings)], [4] * 5)
        assert "AP" in ends[-1] and "AP75" not in ends[-1]
    else:  # in two runs, the second of which begins amid an epoch
        clock = make_clock(num_epochs=5)
        first = make(clock, notes, **settings)
        full, part = divmod(cut, 4)
        drive([clock, first], [4] * full + [part] * (part > 0))
        states = json.loads(json.dumps([clock.get_state(), first.get_state()]))
        place = clock.progress.place
        clock = make_clock(num_epochs=5)
        second = make(clock, notes, **settings)
        clock.progress.go_on_from(*place)
        clock.set_state(states[0])
        second.set_state(states[1])
        if part:
            drive([clock, second], [4 - part], first_epoch=full)
        rest = full + (part > 0)
        drive([clock, second], [4] * (5 - rest), first_epoch=rest)
    assert notes.steps == expected


def test_the_best_is_saved_and_known_after_a_restart(make_clock, drive, aps):
    aps[0].extend([0.2, None, 0.3, 0.3, 0.1, 0.3, 0.4])
    clock = make_clock(num_epochs=7)
    evaluate = make(clock, Notes())
    drive([clock, evaluate], [4] * 4)
    assert aps[1] == [Path("best"), Path(BEST_DETECTIONS_FILE)] * 2
    assert (evaluate.best_ap, evaluate.best_epoch, evaluate.best_step) == (0.3, 3, 12)
    again = make(clock, Notes())
    again.set_state(json.loads(json.dumps(evaluate.get_state())))
    drive([clock, again], [4] * 3, first_epoch=4)
    assert len(aps[1]) == 6
    assert (again.best_ap, again.best_epoch) == (0.4, 7)


def test_an_epoch_that_another_callback_makes_the_last_is_evaluated(make_clock, drive, aps):
    aps[0].append(0.5)
    notes = Notes()
    clock = make_clock(num_epochs=9)
    evaluate = make(clock, notes, every_epochs=5)

    class Stop(RunCallback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    drive([clock, Stop(), evaluate], [4] * 9)
    assert notes.steps == [8]


def test_workers_that_are_not_the_chief_save_nothing(make_clock, drive, aps):
    aps[0].append(0.5)
    clock = make_clock(num_epochs=1)
    evaluate = make(clock, Notes(), best_path=None)
    drive([clock, evaluate], [4])
    # They take part in reading the weights, and name no file.
    assert evaluate.best_ap == 0.5 and aps[1] == [None]


def test_measured_and_saved_with_the_weights_that_are_meant(make_clock, drive, aps):
    aps[0].append(0.5)
    inside = []

    @contextlib.contextmanager
    def averaged(model):
        inside.append((len(aps[0]), len(aps[1])))
        yield
        inside.append((len(aps[0]), len(aps[1])))

    clock = make_clock(num_epochs=1)
    drive([clock, make(clock, Notes(), evaluated_weights=averaged)], [4])
    assert inside == [(1, 0), (0, 2)]  # the model and its detections


def test_the_epoch_s_row_holds_its_evaluation(make_clock, drive, aps, tmp_path):
    aps[0].append(0.5)
    clock = make_clock(num_epochs=1)
    history = MetricsHistory(tmp_path / "m.csv", clock=clock)
    evaluate = EvaluateOnDataset(
        None, clock=clock, every_epochs=1, batch_size=1, best_path=None, listeners=[history]
    )
    drive([clock, evaluate, history], [4])
    (row,) = history.rows
    assert (row["AP"], row["step"], row["loss"]) == (0.5, 4, 1.0)
