"""--json: a verb's result alone on standard output, for every verb."""

import json
import re
from pathlib import Path

import pytest
import typer

from keras_retinanet.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")


def verbs():
    found = {}

    def visit(command, name):
        for key, below in getattr(command, "commands", {}).items():
            visit(below, f"{name} {key}".strip())
        if not hasattr(command, "commands"):
            found[name] = command

    visit(typer.main.get_command(app), "")
    return found


VERBS = verbs()


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_it(name):
    assert "--json" in {option for parameter in VERBS[name].params for option in parameter.opts}


def test_the_page_has_all_verbs():
    rows = re.findall(r"^\| (`.*?`) \|", PAGE.partition("## JSON")[2], re.MULTILINE)
    assert sorted(re.findall(r"`([^`]+)`", " ".join(rows))) == sorted(VERBS)


def test_standard_output_is_the_result_alone(call, tmp_path, capsys):
    calls = {
        ("data", "demo", tmp_path / "set", "--num-train", 2, "--num-val", 1): {"data"},
        ("anchors", "quickstart", "--data", tmp_path / "set", "image.size=64"): {"recall", "split"},
        ("data", "check", "--data", tmp_path / "set"): {"findings", "statistics"},
        (
            "data",
            "convert",
            "--to",
            "yolo",
            *(f"--data={tmp_path}/set", f"--output={tmp_path}/yolo"),
        ): {"images"},
        ("reproduce", "figure-1", "--output", tmp_path / "figure"): {"written"},
        ("config", "quickstart"): {"model", "training"},
    }
    for arguments, keys in calls.items():
        status = call(*arguments, "--json")
        printed = capsys.readouterr()
        assert status in (0, 1), printed.err
        assert keys <= set(json.loads(printed.out)), arguments
    assert "figure-1.png" not in printed.out
    assert call("config", "quickstart") == 0  # not asked for: as before
    assert capsys.readouterr().out.startswith("model:")


def test_a_mistake_prints_no_json(call, tmp_path, capsys):
    assert call("config", "quickstrat", "--json") == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: there is no config")
