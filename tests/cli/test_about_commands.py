"""retinanet configs and retinanet doctor."""

import json

import pytest
from typer.testing import CliRunner

from keras_retinanet.cli.app import app
from keras_retinanet.cli.verbs import about_commands
from keras_retinanet.system.environment import Fact


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_configs():
    result = run("configs", "--json")
    assert result.exit_code == 0
    assert "ResNet-18" in json.loads(result.stdout)["bccd_r18"]


@pytest.mark.parametrize(("warning", "status"), [(None, 0), ("free some space", 1)])
def test_doctor(monkeypatch, warning, status):
    monkeypatch.setattr(
        about_commands, "describe_environment", lambda folder: [Fact("disk", "1 GB", warning)]
    )
    result = run("doctor", "--json")
    assert result.exit_code == status
    content = json.loads(result.stdout)
    assert content["facts"]["disk"] == "1 GB" and "CPU" in content["facts"]["devices"]
    assert content["warnings"] == ([warning] if warning else [])
