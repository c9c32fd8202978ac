"""The runner with trainings that take no time; `test_reproduce.py` runs real ones."""

import json
from dataclasses import replace

import pytest

from keras_retinanet.errors import ConfigError, TrainingDiverged
from keras_retinanet.paper import runner
from keras_retinanet.paper.experiment import folder_name, load_experiment
from keras_retinanet.paper.runner import run_experiment


@pytest.fixture
def trained(monkeypatch):
    """The trainings that were run, as (folder, config); a key of `fail` makes one fail."""
    calls, fail = [], {}

    def train(config, train_set, val_set, output, *, resume, progress):
        assert resume == (output / "run.json").is_file() == output.is_dir()
        output.mkdir(parents=True, exist_ok=True)
        (output / "config.yaml").write_text("")
        (output / "run.json").write_text("{}")
        for name, error in fail.items():
            if name in str(output):
                raise error
        calls.append((output, config))
        return config

    def evaluate(config, dataset, *, batch_size):
        figures = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl"), 0.1)
        return {**figures, "AP": 0.1 + config.loss.gamma / 100, "per_class": {}}, []

    monkeypatch.setattr(runner, "train", train)
    monkeypatch.setattr(runner, "evaluate", evaluate)
    monkeypatch.setattr(runner, "milliseconds_per_image", lambda model, dataset: 12.5)
    # A plot after every training is most of the time of these tests; `test_plots.py` draws them.
    for name in ("draw_rows", "draw_speed"):
        monkeypatch.setattr(runner, name, lambda _, __, path, *, notes: path.write_text("a plot"))
    calls_and_fail = type("Trained", (), {"calls": calls, "fail": fail})
    return calls_and_fail


@pytest.fixture
def run(demo_sets, tmp_path):
    def run(name="table-1b", **options):
        lines = []
        options = {"scale": "quick", "say": lines.append, "data_name": "demo", **options}
        results = run_experiment(load_experiment(name), *demo_sets, tmp_path / "out", **options)
        return results, "\n".join(lines), tmp_path / "out"

    return run


def test_every_row_and_seed_is_trained_with_its_settings(run, trained):
    results, _, output = run(num_seeds=2)
    assert len(trained.calls) == 14 and all(len(row.results) == 2 for row in results)
    assert [config.training.seed for _, config in trained.calls] == [0] * 7 + [1] * 7
    gammas = [config.loss.gamma for _, config in trained.calls[:7]]
    assert gammas == [0, 0.1, 0.2, 0.5, 1, 2, 5]
    folder, _ = trained.calls[5]
    assert folder == output / "gamma-2-alpha-0.25" / "seed-0"
    assert json.loads((folder / "result.json").read_text())["AP"] == pytest.approx(0.12)
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert metrics["AP"] == pytest.approx(0.12)
    table = (output / "table.md").read_text()
    assert "12.0 ± 0.0" in table and "quick scale" in table and "3 val images" in table
    assert (output / "table.csv").is_file() and (output / "plot.png").is_file()


def test_what_is_done_is_not_done_again(run, trained):
    trained.fail["gamma-0.5-alpha-0.5"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(trained.calls) == 3
    trained.fail.clear()
    results, lines, _ = run()
    assert len(trained.calls) == 7, "three before, four now"
    assert lines.count("done before") == 3 and lines.count("was stopped; resuming it") == 1
    assert not [row for row in results if len(row.results) != 1]
    # Another seed later on leaves the first as it is.
    _, lines, _ = run(num_seeds=2)
    assert len(trained.calls) == 14 and lines.count("done before") == 7


def test_what_was_stopped_before_its_first_step_begins_anew(run, trained, tmp_path):
    trained.fail["gamma-0-"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run()
    (begun,) = (tmp_path / "out").glob("gamma-0-*/seed-0")
    (begun / "run.json").unlink()
    trained.fail.clear()
    _, lines, _ = run()
    assert "resuming" not in lines and len(trained.calls) == 7


def test_the_table_is_there_before_the_last_row(run, trained):
    trained.fail["gamma-0.5-alpha-0.5"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run()
    output = trained.calls[0][0].parents[1]
    assert (output / "table.md").read_text().count("not run yet") == 4


def test_a_training_that_diverges_is_a_result(run, trained):
    trained.fail["gamma-5"] = TrainingDiverged("the loss is nan")
    results, lines, output = run()
    assert results[-1].num_diverged == 1 and "diverged" in lines
    assert "diverged in 1 of 1 trainings" in (output / "table.md").read_text()
    run()
    assert len(trained.calls) == 6, "and is not tried again"


def test_another_experiment_in_the_folder_is_refused(run, trained):
    run()
    with pytest.raises(ConfigError, match=r"another experiment: title was 'Table 1b.*name another"):
        run("table-1a")
    with pytest.raises(ConfigError, match=r"schedule: length was \d+ and is 3"):
        run(overrides=("schedule.length=3",))
    assert len(trained.calls) == 7


def test_a_folder_with_other_things_is_refused(run, trained, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty and holds no experiment"):
        run()
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine" and not trained.calls


def test_a_wrong_setting_is_told_before_anything_is_trained(run, trained):
    with pytest.raises(ConfigError, match=r"loss\.gama"):
        run(overrides=("loss.gama=1",))
    assert not trained.calls


def test_speed_is_measured_where_the_experiment_asks(run, trained):
    results, _, output = run("table-1e")
    assert results[0].results[0]["ms"] == 12.5 and (output / "speed.png").is_file()
    assert "| 12.5 |" in (output / "table.md").read_text()


def test_folder_names_are_readable_and_apart():
    for name in ("table-1a", "table-1b", "table-1c", "table-1d", "table-1e", "losses"):
        rows = load_experiment(name).rows
        assert len({folder_name(row.name) for row in rows}) == len(rows)
    assert folder_name("OHEM 1:3, batch 128, NMS .5") == "ohem-1-3-batch-128-nms-.5"


def test_other_data_in_the_folder_is_refused(run, trained, demo_sets, tmp_path):
    """Even with as many images and the same classes."""
    run()
    train_set, val_set = demo_sets
    moved = replace(train_set, boxes=train_set.boxes + 1)
    with pytest.raises(ConfigError, match=r"another experiment: data: train was '6 images"):
        run_experiment(
            load_experiment("table-1b"), moved, val_set, tmp_path / "out", scale="quick", say=str
        )
