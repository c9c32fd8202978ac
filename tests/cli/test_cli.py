"""The command line: the whole road with it, and one line for every mistake."""

import json
import subprocess
import sys

import pytest

from keras_retinanet.data.source import load_dataset
from keras_retinanet.training import train as training

pytestmark = pytest.mark.usefixtures("small_resnet18")

TINY = [
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    "image.size=64",
    "schedule.length=1",
    "training.batch_size=4",
    "inference.score_threshold=0.001",
]


@pytest.fixture(scope="module")
def road(call, tmp_path_factory, small_resnet18):
    """Every step of the quickstart, small."""
    folder = tmp_path_factory.mktemp("road")
    data = folder / "data" / "data.yaml"
    steps = {
        "demo": ("data", "demo", data.parent, "--num-train", 8, "--num-val", 5),
        "train": ("train", "quickstart", "--data", data, "--output", folder / "run", *TINY),
        "evaluate": (
            *("evaluate", folder / "run" / "best.keras", "--data", data),
            *("--split", "val", "--output", folder / "evaluation"),
        ),
        "predict": (
            *("predict", folder / "run" / "best.keras", data.parent / "images" / "val"),
            *("--output", folder / "predictions"),
        ),
        "export": (
            *("export", folder / "run" / "best.keras", "--output", folder / "export"),
            *("--verify-images", data.parent / "images" / "val"),
        ),
    }
    assert {name: call(*step) for name, step in steps.items()} == dict.fromkeys(steps, 0)
    return folder


def test_evaluation_files(road):
    metrics = json.loads((road / "evaluation" / "metrics.json").read_text())
    figures = [
        "AP",
        "AP50",
        "AP75",
        "APs",
        "APm",
        "APl",
        "AR1",
        "AR10",
        "AR100",
        "ARs",
        "ARm",
        "ARl",
    ]
    assert list(metrics) == [*figures, "per_class"]
    results = json.loads((road / "evaluation" / "detections.json").read_text())
    dataset = load_dataset(road / "data" / "data.yaml", "val")
    assert {r["image_id"] for r in results} <= set(dataset.image_ids)
    assert {r["category_id"] for r in results} <= set(dataset.category_ids)


def test_evaluation_with_more_detections(call, road, tmp_path, capfd):
    command = ("evaluate", road / "run" / "best.keras", "--data", road / "data" / "data.yaml")
    assert call(*command, "--max-detections", 300, "--output", tmp_path) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    before = json.loads((road / "evaluation" / "metrics.json").read_text())
    assert "AR100" not in metrics and metrics["AR300"] >= before["AR100"]
    assert metrics["AR10"] == before["AR10"]
    assert "AR300" in (tmp_path / "report.html").read_text()
    rows = [
        len(json.loads((folder / "detections.json").read_text()))
        for folder in (road / "evaluation", tmp_path)
    ]
    assert rows[1] >= rows[0]


def test_prediction_files(road):
    found = json.loads((road / "predictions" / "predictions.json").read_text())
    assert len(found["images"]) == 5 and found["passed_over"] == []
    assert len(list((road / "predictions" / "images").glob("*.jpg"))) == 5


def test_export_files(road):
    assert (road / "export" / "1" / "saved_model.pb").is_file()


def test_run_without_output_gets_a_numbered_folder(call, road, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "quickstart-001").mkdir(parents=True)
    monkeypatch.setattr(training, "train", lambda *args, **options: None)
    data = road / "data" / "data.yaml"
    assert call("train", "quickstart", "--data", data) == 0
    assert (tmp_path / "runs" / "quickstart-002").is_dir()
    assert list((tmp_path / "runs" / "quickstart-001").iterdir()) == []


def test_training_without_a_config(call, road, tmp_path, monkeypatch, capfd):
    started = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "train", lambda config, *_, **__: started.append(config))
    data = road / "data" / "data.yaml"
    assert call("train", "--data", data) == 0
    assert call("train", "--data", data, "training.batch_size=8", "schedule.length=7") == 0
    assert "config: own_images" in capfd.readouterr().out
    assert [config.schedule.length for config in started] == [100, 7]
    assert [config.training.batch_size for config in started] == [4, 8]
    assert (tmp_path / "runs" / "own_images-001").is_dir()


def test_mistakes_are_one_line_and_status_2(call, road, tmp_path, capfd):
    data, model = road / "data" / "data.yaml", road / "run" / "best.keras"
    broken = tmp_path / "broken.yaml"
    broken.write_text("format: coco\nsplits: {train: {images: [}\n")
    mistakes = {
        "did you mean 'optimizer.momentum'": (
            *("train", "quickstart", "--data", data, "optimizer.momentun=0.9"),
        ),
        "there is no config": ("train", "quickstrat", "--data", data),
        "broken.yaml:2": ("train", "quickstart", "--data", broken),
        "is not empty": ("train", "quickstart", "--data", data, "--output", road / "run"),
        "no split 'tset'": ("evaluate", model, "--data", data, "--split", "tset"),
        "there is no model file": ("evaluate", tmp_path / "no.keras", "--data", data),
        "there is no file or folder": ("predict", model, tmp_path / "no", "--output", tmp_path),
        "earlier call": ("predict", model, road, "--output", road / "predictions"),
        "did you mean 'yolo'": (
            *("predict", model, road, "--output", tmp_path / "x", "--format", "yol"),
        ),
        "holds no image": (
            *("export", model, "--output", tmp_path / "export"),
            *("--verify-images", tmp_path / "no"),
        ),
        "not an empty folder": ("data", "demo", road / "data"),
    }
    for message, arguments in mistakes.items():
        assert call(*arguments) == 2, arguments
        lines = capfd.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        assert message in lines[0]
    assert not (tmp_path / "export").exists()


def test_debug_shows_the_traceback(call, tmp_path):
    with pytest.raises(ValueError, match="there is no config"):
        call("--debug", "train", "nothing", "--data", tmp_path / "data.yaml")


def test_square_brackets_in_messages_are_printed(call, capfd):
    assert call("train", "a[red]b", "--data", "x") == 2
    assert "a[red]b" in capfd.readouterr().err


def test_help_loads_neither_tensorflow_nor_keras():
    code = (
        "import sys; sys.argv = ['retinanet', '--help']\n"
        "from keras_retinanet.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands" in run.stdout
    assert run.stdout.strip().endswith("[]")
