"""`retinanet beam` where Beam is not there, or not with what it needs."""

import importlib.metadata
import importlib.util

import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "model", "images", "--output", "out"),
        ("convert", "--data", "data.yaml", "--output", "out"),
    ],
)
def test_an_environment_that_does_not_fit_is_one_line(
    call, capsys, monkeypatch, tmp_path, arguments
):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert call("beam", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: this needs Apache Beam, in an environment of its own: pip inst")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("apache_beam") is None, reason="needs Beam")
def test_a_runner_that_beam_has_not(call, capsys, tmp_path):
    arguments = ("--data", tmp_path, "--output", tmp_path / "out", "--runner", "NoRunner")
    assert call("beam", "convert", *arguments) == 2
    assert "--runner NoRunner" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
