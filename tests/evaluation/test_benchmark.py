"""The measurements: what they hold, what a wrong model does, and the plot."""

import json
from pathlib import Path

import numpy as np
import pytest

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation import benchmark_worker
from keras_retinanet.evaluation.benchmark import COLUMNS, benchmark
from keras_retinanet.models.saving import save_for_inference
from keras_retinanet.reports.benchmark_results import short_names, write_results

RESULT = {
    "model": "runs/a/best.keras",
    "image_size": "480x640",
    "batch_size": 2,
    "min_ms": 9.0,
    "median_ms": 10.0,
    "p95_ms": 12.0,
    "images_per_second": 199.0,
    "images_per_second_per_core": 99.5,
    "peak_memory_mb": 900,
    "AP": 0.3,
}


class Sleeper:
    """A detector whose batches take no time, except for two in ten."""

    class_names = ("cat",)

    def __init__(self, clock):
        self.clock = clock

    def detect_files(self, image_paths, heights, widths, *, batch_size):
        for i in range(len(image_paths)):
            if i % batch_size == 0:
                self.clock.now += 0.5 if (i // batch_size) % 5 == 0 else 0.1
            yield i, {}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


MACHINE = {"processor": "Some CPU 3000", "units": ["avx2", "amx_int8"], "cores": 2}


def test_times_are_those_of_batches(monkeypatch, tmp_path):
    clock = Clock()
    monkeypatch.setattr(benchmark_worker.time, "perf_counter", clock)
    monkeypatch.setattr(benchmark_worker, "WARMUP", 5)
    monkeypatch.setattr(benchmark_worker, "num_cores", lambda: 4)
    found = benchmark_worker._times(Sleeper(clock), "x", 4, 4, 3, 10)
    assert found["min_ms"] == found["median_ms"] == pytest.approx(100)
    times = [500, 100, 100, 100, 100] * 2
    assert found["p95_ms"] == pytest.approx(np.percentile(times, 95))
    assert found["images_per_second"] == pytest.approx(3 * 10 / 1.8, abs=0.01)
    assert found["images_per_second_per_core"] == pytest.approx(3 * 10 / 1.8 / 4, abs=0.01)


def test_files(tmp_path):
    files = write_results([RESULT, {**RESULT, "AP": None}], tmp_path / "out", MACHINE)
    assert [file.name for file in files] == ["benchmark.json", "latency_ap.png"]
    written = json.loads(files[0].read_text())
    assert written["results"][0] == RESULT and written["machine"] == MACHINE
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert len(write_results([{**RESULT, "AP": None}], tmp_path, MACHINE)) == 1


def test_names_are_what_tells_models_apart():
    assert short_names(["runs/a/best.keras", "runs/b/best.keras"]) == [
        "a/best.keras",
        "b/best.keras",
    ]
    assert short_names(["/x/serving/1", "/x/edge/3/model.tflite"]) == [
        "serving/1",
        "edge/3/model.tflite",
    ]
    assert short_names(["/x/serving/1"] * 2) == ["serving/1"] * 2
    assert short_names(["best.keras"]) == ["best.keras"]


@pytest.mark.slow
def test_a_model_is_measured_in_a_process_of_its_own(make_tiny, tmp_path):
    save_for_inference(make_tiny(channels=8), tmp_path / "model.keras")
    (small, large) = benchmark(
        [tmp_path / "model.keras"], image_sizes=[(60, 80)], batch_sizes=[1, 2], rounds=3
    )
    assert set(COLUMNS) <= set(small)
    assert 0 < small["min_ms"] <= small["median_ms"] <= small["p95_ms"]
    assert large["batch_size"] == 2
    assert large["peak_memory_mb"] >= small["peak_memory_mb"] > 100
    with pytest.raises(UserError, match="there is no model file"):
        benchmark([tmp_path / "no"], image_sizes=[(60, 80)], batch_sizes=[1], rounds=2)


def test_the_machine_and_each_core_are_told(call, make_tiny, tmp_path, capfd, monkeypatch):
    from keras_retinanet.evaluation import benchmark as module
    from keras_retinanet.system import environment

    monkeypatch.chdir(tmp_path)  # a path of any length may be in a line
    path = Path("model.keras")
    path.touch()
    result = {**RESULT, "model": str(path)}
    monkeypatch.setattr(module, "_in_process", lambda request: [result])
    monkeypatch.setattr(environment, "describe_processor", lambda: MACHINE)
    assert call("benchmark", path) == 0
    shown = capfd.readouterr().out
    assert "Some CPU 3000 (avx2, amx_int8), cores: 2" in shown
    assert "a core" in shown and "99.5" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert call("benchmark", path, "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["machine"] == MACHINE and told["results"] == [result]


def test_a_wrong_size_is_one_line(call, tmp_path, capfd):
    assert call("benchmark", tmp_path / "model.keras", "--image-size", "480") == 2
    assert "480x640" in capfd.readouterr().err
