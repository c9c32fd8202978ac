"""What several verbs take: the same description everywhere, and one line for what cannot be."""

from pathlib import Path

import pytest
import typer

from keras_retinanet.cli.app import app
from keras_retinanet.cli.arguments import keras_file, model_file
from keras_retinanet.errors import WeightsError
from keras_retinanet.training.runs.run_directory import Run, write_run


@pytest.fixture(scope="module")
def verbs():
    """Every verb by its name: `data check`, `train`, ..."""
    group = typer.main.get_command(app)
    found = {name: verb for name, verb in group.commands.items() if name != "data"}
    inside = group.commands["data"].commands
    return {**found, **{f"data {name}": verb for name, verb in inside.items()}}


def test_a_run_stands_for_its_best_model(tmp_path):
    write_run(tmp_path, Run(None, "no images"), config="{}")
    for resolve in (model_file, keras_file):
        with pytest.raises(WeightsError, match=r"has no best\.keras yet"):
            resolve(tmp_path)
    (tmp_path / "best.keras").touch()
    for resolve in (model_file, keras_file):
        assert resolve(tmp_path) == tmp_path / "best.keras"


def test_other_paths_stay(tmp_path):
    for resolve in (model_file, keras_file):
        assert resolve(tmp_path / "x.keras") == tmp_path / "x.keras"
    assert model_file(tmp_path) == tmp_path  # an export's version, perhaps
    with pytest.raises(WeightsError, match="is no run directory: name one"):
        keras_file(tmp_path)


@pytest.mark.parametrize(
    ("metavar", "shared_by"),
    [
        (
            "DATA",
            {"anchors", "data check", "data show", "evaluate", "find-batch", "merge", "train"},
        ),
        ("CONFIG", {"anchors", "config", "find-batch", "train"}),
        ("KEY=VALUE", {"anchors", "config", "find-batch", "reproduce", "train"}),
    ],
)
def test_what_verbs_share_is_described_alike(metavar, shared_by, verbs):
    described = {
        (verb, parameter.name): parameter.help
        for verb, command in verbs.items()
        for parameter in command.params
        if parameter.metavar == metavar and parameter.name != "calibrate"
    }
    assert shared_by <= {verb for verb, _ in described}
    assert len(set(described.values())) == 1, described


def test_options_of_one_name_are_of_one_kind(verbs):
    """Whichever verb: --data takes DATA, --output a folder, --split a split."""
    for verb, command in verbs.items():
        for parameter in command.params:
            if parameter.name == "data":
                assert parameter.metavar == "DATA", verb
            if parameter.name == "output":
                assert parameter.metavar == "FOLDER" and "older" in parameter.help, verb
            if parameter.name == "split":
                assert parameter.help.startswith("Split of the data set"), verb
            if parameter.name in ("model", "models"):
                assert parameter.help.startswith("A run directory (its best.keras), a "), verb


def errors(capfd):
    """Return what was printed, but a warning of how the package was installed here."""
    return [
        line
        for line in capfd.readouterr().err.splitlines()
        if not line.startswith("warning: keras-retinanet")
    ]


def test_every_output_is_refused_before_the_work(verbs, call, tmp_path, capfd):
    """No verb gets as far as to miss its data or its model, or to make anything."""
    file = tmp_path / "file"
    file.write_text("mine")
    for verb, command in verbs.items():
        options = [p for p in command.params if p.name == "output"]
        if not options:
            continue
        needed = []
        for parameter in command.params:
            if parameter.required and parameter.name != "output":
                flag = [parameter.opts[0]] if parameter.opts[0].startswith("--") else []
                needed += [*flag, "missing"]
        for place in (file, file / "below"):
            assert call(*verb.split(), *needed, "--output", place) == 2, verb
            lines = errors(capfd)
            assert lines == [f"error: --output {place}: {file} is a file: name a folder"], verb
    assert file.read_text() == "mine" and list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write")
def test_an_output_that_cannot_be_written(call, tmp_path, capfd):
    assert call("reproduce", "figure-1", "--output", "/proc/new/folder") == 2
    lines = errors(capfd)
    assert len(lines) == 1
    assert lines[0].startswith("error: --output /proc/new/folder cannot be written: ")
