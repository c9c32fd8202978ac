"""Work done in advance by threads: in order, not too much of it, and nothing left behind."""

import threading
import time

import pytest

from keras_retinanet.system.prefetch import mapped_ahead


def test_results_are_in_order_though_later_ones_are_ready_first():
    def slow_first(i):
        time.sleep(0.05 * (i == 0))
        return -i

    assert list(mapped_ahead(slow_first, range(20), 3)) == [-i for i in range(20)]
    assert list(mapped_ahead(slow_first, [], 3)) == []


def test_so_many_are_at_work_at_once():
    together = threading.Barrier(3, timeout=10)
    assert sorted(mapped_ahead(lambda _: together.wait(), range(3), 3)) == [0, 1, 2]


def test_no_more_is_asked_for_than_twice_as_many():
    asked = []

    def items():
        for i in range(20):
            asked.append(i)
            yield i

    stream = mapped_ahead(lambda i: i, items(), 2)
    assert next(stream) == 0
    assert asked == [0, 1, 2, 3, 4]  # four are under way, and the one that takes the first's place


def test_an_error_is_raised_in_its_turn():
    def work(i):
        if i == 2:
            raise OSError("no such image")
        return i

    stream = mapped_ahead(work, range(9), 4)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(OSError, match="no such image"):
        next(stream)


def test_what_has_not_begun_is_given_up_with_the_stream():
    begun, go, before = [], threading.Event(), set(threading.enumerate())

    def work(i):
        begun.append(i)
        assert i == 0 or go.wait(10)

    stream = mapped_ahead(work, range(9), 1)
    next(stream)
    go.set()
    stream.close()
    assert len(begun) <= 3  # of nine
    assert set(threading.enumerate()) <= before
