import json

import pytest

from keras_retinanet.training.callbacks import Clock
from keras_retinanet.training.progress import Progress


def of_both(clock):
    """A function that calls a method of the clock, after that of the Progress that it reads."""

    def call(method, *arguments):
        for callback in (clock.progress, clock):
            getattr(callback, method)(*arguments)

    return call


def test_counts_steps_and_leaves_the_first_out_of_rates(make_clock, drive):
    clock = make_clock()
    ends = drive([clock], [4, 4])
    assert [logs["step"] for logs in ends] == [4, 8]
    assert [logs["seconds"] for logs in ends] == [4, 8]
    assert ends[0]["step_seconds"] == 1
    assert ends[0]["images_per_second"] == 2
    assert ends[0]["memory_gb"] > 0.05  # this process has TensorFlow in memory
    assert "data_wait" not in ends[0]
    assert clock.progress.step == 8
    assert clock.remaining_seconds == pytest.approx(4)


def test_the_first_step_of_a_fit_makes_the_graph(make_clock, seconds):
    clock = make_clock()
    call = of_both(clock)
    call("on_train_begin")
    call("on_epoch_begin", 0)
    for batch, took in enumerate((50, 2, 4)):
        call("on_train_batch_begin", batch)
        seconds.now += took
        call("on_train_batch_end", batch)
    assert clock.progress.step == 3
    assert clock._epoch["seconds"] == 6
    assert clock.seconds == 56


def test_several_steps_in_one_call(make_clock, seconds):
    """With steps_per_execution Keras tells the first and the last."""
    clock = make_clock()
    call = of_both(clock)
    call("on_train_begin")
    call("on_epoch_begin", 0)
    for begin, end in ((0, 1), (2, 3)):
        call("on_train_batch_begin", begin)
        seconds.now += 6
        call("on_train_batch_end", end)
    assert clock.progress.step == 4
    assert clock.step_seconds == 3


def test_what_is_between_the_steps_counts_for_the_time_left(make_clock, seconds):
    clock = make_clock(num_epochs=2)
    call = of_both(clock)
    call("on_train_begin")
    call("on_epoch_begin", 0)
    for batch in range(4):
        call("on_train_batch_begin", batch)
        seconds.now += 1
        call("on_train_batch_end", batch)
        seconds.now += 5  # an evaluation, say
    call("on_epoch_end", 0)
    call("on_epoch_begin", 1)
    assert clock.remaining_seconds == pytest.approx(4 + 15)  # the last 5 were no step's


@pytest.mark.parametrize("stop", range(1, 12))
def test_a_run_in_pieces_counts_as_one(make_clock, drive, stop):
    """Resumed in the middle of an epoch: the rest of it is a `fit` of its own."""
    whole = make_clock()
    expected = drive([whole], [4, 4, 4])[-1]
    first = make_clock()
    full, part = divmod(stop, 4)
    drive([first], [4] * full + [part] * (part > 0))
    second = make_clock()
    second.progress.go_on_from(*first.progress.place)
    second.set_state(json.loads(json.dumps(first.get_state())))
    ends = []
    if part:
        ends += drive([second], [4 - part], first_epoch=full)
    ends += drive([second], [4] * (3 - full - (part > 0)), first_epoch=full + (part > 0))
    for name in ("step", "seconds", "step_seconds"):
        assert ends[-1][name] == expected[name], name
    assert second.progress.step == 12 and second.progress.epoch == 3


def test_an_epoch_that_was_broken_off_is_no_epoch(make_clock, drive):
    clock = make_clock()
    (logs,) = drive([clock], [3])
    assert "step" not in logs and not clock.progress.is_epoch_end


def test_the_share_of_waiting(drive, seconds):
    class Wait:
        def take(self):
            return 0.25

    progress = Progress(num_epochs=1, steps_per_epoch=4)
    clock = Clock(progress=progress, batch_size=1, wait=Wait(), now=seconds)
    assert drive([clock], [4])[0]["data_wait"] == pytest.approx(0.25)
