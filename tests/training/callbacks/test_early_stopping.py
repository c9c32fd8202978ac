import json

import pytest

from keras_retinanet.training.callbacks import EarlyStopping


def make(clock, lines, **settings):
    settings = {"monitor": "loss", "patience": 2, "min_delta": 0.0, **settings}
    return EarlyStopping(progress=clock.progress, say=lines.append, **settings)


def stopped_after(make_clock, drive, losses, **settings):
    lines = []
    clock = make_clock(num_epochs=len(losses))
    early = make(clock, lines, **settings)
    ends = drive([clock, early], [4] * len(losses), logs_of=lambda e: {"loss": losses[e]})
    return len(ends), lines, early


def test_stops_when_the_loss_has_not_fallen_for_the_patience(make_clock, drive):
    epochs, lines, early = stopped_after(make_clock, drive, [3, 2, 2.5, 2, 1, 1])
    assert epochs == 4
    assert lines == [
        "early stopping after epoch 4, step 16: loss has not fallen for 2 epochs; its best was 2 "
        "in epoch 2, now it is 2"
    ]
    assert early.stop_reason == lines[0]


def test_a_new_best_begins_the_patience_anew(make_clock, drive):
    epochs, lines, _ = stopped_after(make_clock, drive, [3, 4, 2, 4, 1, 4])
    assert (epochs, lines) == (6, [])


def test_a_gain_within_min_delta_is_none(make_clock, drive):
    epochs, lines, _ = stopped_after(make_clock, drive, [3, 2.95, 2.91, 2.5], min_delta=0.1)
    assert epochs == 3
    assert "has not fallen by more than 0.1 for 2 epochs; its best was 3 in epoch 1" in lines[0]


def test_ap_is_judged_at_evaluations_and_has_to_rise(make_clock, drive, evaluation_of):
    lines = []
    clock = make_clock()
    early = make(clock, lines, monitor="AP", patience=1)
    drive([clock, early], [4, 4])  # losses alone tell nothing
    assert early.best is None
    for step, ap in ((4, 0.1), (8, None), (8, 0.2)):  # AP that is n/a is no judgement
        early.on_evaluation(evaluation_of(2, step, ap))
    assert not early.model.stop_training
    early.on_evaluation(evaluation_of(2, 8, 0.2))
    assert early.model.stop_training
    assert "AP has not risen for 1 evaluation; its best was 0.2 in epoch 2, now" in lines[0]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_patience_survives_a_restart(make_clock, drive, stop):
    losses = [3, 2, 2.5, 2.2, 1, 1]
    lines = []
    clock = make_clock(num_epochs=6)
    early = make(clock, lines)
    drive([clock, early], [4] * stop, logs_of=lambda e: {"loss": losses[e]})
    states = json.loads(json.dumps([clock.get_state(), early.get_state()]))
    place = clock.progress.place
    clock = make_clock(num_epochs=6)
    clock.progress.go_on_from(*place)
    early = make(clock, lines)
    clock.set_state(states[0])
    early.set_state(states[1])
    ends = drive(
        [clock, early], [4] * (6 - stop), first_epoch=stop, logs_of=lambda e: {"loss": losses[e]}
    )
    assert stop + len(ends) == 4 and len(lines) == 1
    assert "its best was 2 in epoch 2, now it is 2.2" in lines[0]
