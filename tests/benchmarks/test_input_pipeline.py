"""benchmarks/input_pipeline.py: a pass cannot be shorter than its work."""

import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COUNT, SECONDS = 6, 0.05


@pytest.fixture
def pipeline(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("input_pipeline")


class Sleeping:
    """A stream without end of which each element takes SECONDS, and which makes some ahead."""

    def __init__(self):
        self.num_made = 0
        numbers = tf.data.Dataset.range(2).repeat()
        self.elements = numbers.map(lambda n: tf.py_function(self.make, [n], tf.int64))
        self.elements = self.elements.prefetch(2 * COUNT)

    def make(self, number):
        time.sleep(SECONDS)
        self.num_made += 1
        return number


def test_a_pass_takes_at_least_its_work(pipeline):
    stream = Sleeping()
    for number in range(3):
        taken = pipeline.one_pass(stream.elements, COUNT, 4)
        assert COUNT * SECONDS <= taken.wall < 20 * COUNT * SECONDS
        assert taken.cpu < taken.wall  # it slept
        assert taken.num_images == 4 * COUNT
        time.sleep(2 * COUNT * SECONDS)  # for what would be made ahead of the next pass
        assert stream.num_made >= (number + 1) * COUNT


def test_making_an_iterator_makes_no_element():
    """Else what `start` takes would be work that the pass then lacks."""
    stream = Sleeping()
    iterator = iter(stream.elements.take(COUNT))
    time.sleep(4 * SECONDS)
    assert stream.num_made == 0
    next(iterator)


def test_one_that_was_made_ahead_would_be_shorter():
    """The trap: an iterator that is kept has its next elements ready."""
    iterator = iter(Sleeping().elements)
    next(iterator)
    time.sleep(2 * COUNT * SECONDS)
    start = time.perf_counter()
    for _ in range(COUNT):
        next(iterator)
    assert time.perf_counter() - start < COUNT * SECONDS / 2


def test_too_few_elements_are_no_pass(pipeline):
    with pytest.raises(ValueError, match="3 elements, and not 4"):
        pipeline.one_pass(tf.data.Dataset.range(3), 4, 1)


def test_figures(pipeline):
    times = [
        pipeline.Pass(start=1.0, wall=5.0, cpu=10.0, num_images=10),
        pipeline.Pass(start=3.0, wall=2.5, cpu=20.0, num_images=10),
        pipeline.Pass(start=2.0, wall=1.25, cpu=40.0, num_images=10),
    ]
    found = pipeline.figures(times, cores=2)
    assert found["images_per_second"] == {"min": 2.0, "median": 4.0, "max": 8.0}
    assert found["cpu_milliseconds"] == {"min": 1000.0, "median": 2000.0, "max": 4000.0}
    assert found["images_per_second_by_cpu_time"] == 2.0
    assert found["start_seconds"] == {"min": 1.0, "median": 2.0, "max": 3.0}


@pytest.mark.slow
def test_the_whole_script(tmp_path):
    from keras_retinanet.data.demo.demo import write_demo_dataset

    data = write_demo_dataset(tmp_path / "set", num_train=8, num_val=2)
    command = [sys.executable, str(BENCHMARKS / "input_pipeline.py"), f"--data={data}"]
    command += ["--size=64", "--batch-size=2", "--passes=1", "--preset=paper", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("decoder alone", "paper"):
        assert f"{name}: " in done.stdout
