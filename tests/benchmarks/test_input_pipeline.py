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


@pytest.fixture
def sleeping():
    """A stream without end of which each element takes SECONDS, and which makes some ahead."""

    def sleep(number):
        time.sleep(SECONDS)
        return number

    numbers = tf.data.Dataset.range(2).repeat()
    return numbers.map(lambda n: tf.py_function(sleep, [n], tf.int64)).prefetch(2 * COUNT)


def test_a_pass_takes_at_least_its_work(pipeline, sleeping):
    for _ in range(3):
        wall, cpu = pipeline.pass_seconds(sleeping, COUNT)
        assert COUNT * SECONDS <= wall < 20 * COUNT * SECONDS
        assert cpu < wall  # it slept
        time.sleep(2 * COUNT * SECONDS)  # for what would be made ahead of the next pass


def test_one_that_was_made_ahead_would_be_shorter(sleeping):
    """The trap: an iterator that is kept has its next elements ready."""
    iterator = iter(sleeping)
    next(iterator)
    time.sleep(2 * COUNT * SECONDS)
    start = time.perf_counter()
    for _ in range(COUNT):
        next(iterator)
    assert time.perf_counter() - start < COUNT * SECONDS / 2


def test_too_few_elements_are_no_pass(pipeline):
    with pytest.raises(ValueError, match="3 elements, and not 4"):
        pipeline.pass_seconds(tf.data.Dataset.range(3), 4)


def test_figures(pipeline):
    found = pipeline.figures([(0.5, 1.0), (0.25, 2.0), (0.125, 4.0)], cores=2)
    assert found["images_per_second"] == {"min": 2.0, "median": 4.0, "max": 8.0}
    assert found["cpu_milliseconds"] == {"min": 1000.0, "median": 2000.0, "max": 4000.0}
    assert found["images_per_second_by_cpu_time"] == 2.0


@pytest.mark.slow
def test_the_whole_script(tmp_path):
    from keras_retinanet.data.demo.demo import write_demo_dataset

    data = write_demo_dataset(tmp_path / "set", num_train=8, num_val=2)
    command = [sys.executable, str(BENCHMARKS / "input_pipeline.py"), f"--data={data}"]
    command += ["--size=64", "--batch-size=2", "--passes=2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("decoder alone", "paper", "default", "strong"):
        assert f"{name}: " in done.stdout
