"""`retinanet reproduce` as a user runs it: its own process, real trainings, a stop in between."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.usefixtures("small_resnet18")

TINY = [
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    "image.size=64",
    "schedule.length=1",
    "training.batch_size=2",
]


@pytest.fixture
def reproduce(demo_yaml):
    def start(*arguments):
        command = [sys.executable, "-m", "keras_retinanet.cli", "reproduce", *map(str, arguments)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
        )

    return start


@pytest.mark.slow
def test_stopped_in_the_second_row_and_gone_on_with(reproduce, demo_yaml, tmp_path):
    output = tmp_path / "out"
    arguments = ("table-1c", "--data", demo_yaml, "--output", output, "--scale", "quick", *TINY)
    process = reproduce(*arguments)
    for line in process.stdout:
        if line.startswith("2 scales, 1 ratio, seed 0: training"):
            break
    while not list((output / "2-scales-1-ratio").glob("seed-0/run.json")):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode != 0
    first = output / "1-scale-1-ratio" / "seed-0"
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()}
    assert first / "result.json" in before

    process = reproduce(*arguments)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "1 scale, 1 ratio, seed 0: done before" in output
    assert "2 scales, 1 ratio, seed 0: was stopped; resuming it" in output
    assert before == {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()}
    with open(output / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trainings"] for row in rows] == ["1"] * 7
    anchors = json.loads((output / "experiment.json").read_text())["rows"]
    assert len(anchors["4 scales, 3 ratios"]["anchors"]["scales"]) == 4


@pytest.fixture
def run_in_process(call, capsys):
    return lambda *arguments: (call("reproduce", *arguments), capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table-1a",), "table-1a needs a data set: give --data"),
        (("figure-4", "--data", "d.yaml"), "figure-4 shows a trained model: give --model"),
        (("table-1a", "--data", "d.yaml", "--scale", "quik"), "did you mean 'quick'"),
        (("table-9", "--data", "d.yaml"), "no experiment 'table-9'"),
    ],
)
def test_mistakes_are_one_line(arguments, message, run_in_process, tmp_path):
    status, errors = run_in_process(*arguments, "--output", tmp_path / "out")
    assert status == 2 and message in errors and len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_figure_1_needs_no_data(run_in_process, tmp_path):
    assert run_in_process("figure-1", "--output", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "figure-1.png").stat().st_size > 10_000


def test_figure_4_of_a_model_file(run_in_process, tmp_path, demo_yaml, make_tiny, demo_sets):
    from keras_retinanet.models.saving import save_model

    model = make_tiny(class_names=demo_sets[1].class_names)
    save_model(model, tmp_path / "model.keras")
    status, errors = run_in_process(
        "figure-4", "--data", demo_yaml, "--model", tmp_path / "model.keras",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert status == 0, errors
    assert (tmp_path / "out" / "figure-4.png").stat().st_size > 10_000
