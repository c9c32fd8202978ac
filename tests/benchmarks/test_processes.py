"""benchmarks/processes.py: turns, idle candidates that do not run, failures that are told."""

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# A thread that goes on after the call, as some libraries' pools do for a while.
RESTLESS = """
import threading, time
import processes

ticks, calls = [], []

def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.01)

def call():
    if not calls:
        threading.Thread(target=tick, daemon=True).start()
    calls.append(time.monotonic())

def facts():
    pairs = zip(calls, calls[1:])
    return {"ticks": [sum(a < tick < b for tick in ticks) for a, b in pairs]}

processes.serve(call, facts, warmup=1)
"""
SLEEPING = """
import time
import processes

print("a line of a library's own", flush=True)
processes.serve(lambda: time.sleep(0.05), lambda: {"answer": 42}, warmup=2)
"""
FAILING = """
import processes

calls = []

def call():
    calls.append(None)
    if len(calls) == 3:
        raise ValueError("the third call cannot be made")

processes.serve(call, warmup=1)
"""


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS))


@pytest.fixture
def processes(benchmarks):
    return importlib.import_module("processes")


@pytest.fixture
def make(processes):
    made = []

    def make(program):
        made.append(processes.Worker([sys.executable, "-c", program]))
        return made[-1]

    yield make
    assert all(worker.process.poll() is not None for worker in made), "one still runs"


def test_calls_are_timed_and_facts_told(processes, make):
    worker = make(SLEEPING)
    with processes.taking_turns({"a": worker}, rounds=3):
        facts = worker.finish()
    assert facts == {"answer": 42} and not worker.failed
    assert len(worker.seconds) == 3 and min(worker.seconds) >= 0.05
    assert worker.warmup_seconds >= 0.1
    assert max(worker.cpu_seconds) < 0.05  # it slept


def test_an_idle_worker_does_not_run(processes, make):
    worker = make(RESTLESS)
    with processes.taking_turns({"a": worker}, rounds=0):
        for _ in range(3):
            time.sleep(1.0)  # of some hundred ticks
            worker.call()
        facts = worker.finish()
    assert len(facts["ticks"]) == 3
    assert max(facts["ticks"]) < 8, "it has run while others were measured"


def test_workers_take_turns(processes, make):
    order = []

    class Recorded(processes.Worker):
        def call(self):
            order.append(self)
            super().call()

    workers = {name: make(SLEEPING) for name in "ab"}
    for worker in workers.values():
        worker.__class__ = Recorded
    with processes.taking_turns(workers, rounds=2):
        pass  # nobody finishes them: they are ended
    a, b = workers.values()
    assert order == [a, b, a, b]


def test_a_failure_is_told_and_the_others_go_on(processes, make):
    bad, good = make(FAILING), make(SLEEPING)
    with processes.taking_turns({"bad": bad, "good": good}, rounds=4):
        assert bad.finish() == {}
        assert good.finish() == {"answer": 42}
    assert bad.failed == "ValueError: the third call cannot be made"
    assert len(good.seconds) == 4


def test_missing_packages_are_told(processes, make):
    worker = make("import a_package_that_nobody_has")
    with processes.taking_turns({"a": worker}, rounds=1):
        worker.finish()
    assert worker.failed == "ModuleNotFoundError: No module named 'a_package_that_nobody_has'"


def test_one_that_says_nothing(processes, make):
    worker = make("import sys; sys.exit(3)")
    with processes.taking_turns({"a": worker}, rounds=1):
        pass
    assert worker.failed == "exit status 3"


def test_one_that_the_system_ends(processes, make):
    program = (
        "import os, sys; print('a line', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
    )
    worker = make(program)
    with processes.taking_turns({"a": worker}, rounds=1):
        pass
    assert worker.failed == "ended by SIGKILL"


def test_an_error_of_the_benchmark_ends_them(processes, make):
    worker = make(SLEEPING)
    with pytest.raises(KeyboardInterrupt), processes.taking_turns({"a": worker}, rounds=1):
        raise KeyboardInterrupt


@pytest.mark.slow
def test_inference(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "inference.py"), "--json", "--rounds=2"]
    command += ["--backbone=resnet18", "--size=64", "--classes=3", f"--folder={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("SavedModel float32", "network alone", "Keras model with variables"):
        assert f"{name}: median" in done.stdout
    peers = {"openvino": "OpenVINO float32", "torchvision": "torchvision compiled network"}
    for package, name in peers.items():
        if importlib.util.find_spec(package) is None:
            missing = f"{name} left out: ModuleNotFoundError"
            assert any(line.startswith(missing) for line in done.stdout.splitlines())
    assert (tmp_path / "float32" / "1" / "saved_model.pb").exists()
