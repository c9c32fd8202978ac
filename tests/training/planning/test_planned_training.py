"""From the command line: a plan, its file, and a training that it was made for."""

import json
from types import SimpleNamespace

import pytest

from keras_retinanet.config.load import load_config

TINY = [
    *("model.backbone=mobilenet_v2", "model.width=0.35", "model.weights=none"),
    *("model.fpn_channels=8", "model.head_channels=8", "model.head_depth=1"),
    *("image.size=64", "image.max_size=96"),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory, call):
    folder = tmp_path_factory.mktemp("demo") / "set"
    assert call("data", "demo", folder, "--num-train", 12, "--num-val", 4) == 0
    return folder


@pytest.fixture(autouse=True)
def no_memory_of_others(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.slow
def test_a_plan_is_written_with_its_reasons_and_comes_again(call, demo, tmp_path, capsys):
    results = []
    for name in ("a", "b"):
        plan = ("plan", "--data", demo, "--minutes", 3, "--output", tmp_path / name, *TINY)
        assert call(*plan, "--json") == 0, capsys.readouterr().err
        results.append(json.loads(capsys.readouterr().out))
    for result in results:
        assert all(decision["reason"] for decision in result["decisions"])
        assert 0 < result["seconds"] <= 180
    assert results[0]["decisions"] == results[1]["decisions"]
    one, two = (tmp_path / name / "plan.yaml" for name in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()
    config = load_config(one)
    assert config.image.size == 64 and config.training.evaluate_every >= 1


@pytest.mark.slow
def test_train_plans_for_its_minutes(call, demo, tmp_path, capsys):
    run = tmp_path / "run"
    status = call("train", "--data", demo, "--minutes", 3, "--output", run, *TINY)
    assert status == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "# Made by retinanet plan for 12 images" in told
    assert load_config(run / "plan.yaml") == load_config(run / "config.yaml")
    assert (run / "report.html").is_file() and (run / "best.keras").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "quickstart", "--minutes", 5), "leave CONFIG out"),
        (("train", "--resume", "run", "--minutes", 5), "leave CONFIG out"),
        (("plan", "--target", "phone"), "--target is server or edge, not phone"),
        (("plan", "image.siz=3"), "image.size"),
        (("plan", "image.size=large"), "image.size"),
        (("plan", "training.batch_size=many"), "training.batch_size"),
        (("plan", "image.tile=5"), "image.tile"),
        (("plan", "image.size=500", "image.max_size=400"), "must not be below"),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    call, demo, tmp_path, capsys, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    verb, *rest = arguments
    assert call(verb, *rest, *([] if "--resume" in rest else ["--data", demo])) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and message in line
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_is_there_is_not_written_over(call, demo, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text("mine")
    assert call("plan", "--data", demo, "--output", tmp_path) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "plan.yaml").read_text() == "mine"


def test_a_start_that_fails_leaves_no_plan(call, demo, tmp_path, capsys, monkeypatch):
    from keras_retinanet.cli.verbs import train_command
    from keras_retinanet.errors import DataError

    def planned(*_, path, **__):
        path.write_text("model: {}")
        return SimpleNamespace(config=load_config("quickstart"))

    def fails(*_):
        assert (tmp_path / "run" / "plan.yaml").is_file()
        raise DataError("no image can be read")

    monkeypatch.setattr(train_command, "planned_config", planned)
    monkeypatch.setattr(train_command, "_run", fails)
    assert call("train", "--data", demo, "--minutes", 1, "--output", tmp_path / "run") == 2
    assert "no image can be read" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
