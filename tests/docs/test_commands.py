"""Every command in a block of the documents is one that the program would take."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from keras_retinanet.cli.app import app
from keras_retinanet.config.load import load_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^([ \t]*)```(?:sh|bash|text|)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`(retinanet [a-z][^`]*)`")
# What stands for something else, or for the rest of a line.
ELIDED = re.compile(r"…|\.\.\.|\||\$| > |\[-|KEY=VALUE|VERB|EXPERIMENT")


def commands(text):
    """The calls of retinanet in a page, without those that elide, and whether each is in prose."""
    blocks = "\n".join(match[2].replace("\\\n", " ") for match in BLOCK.finditer(text))
    lines = [(line.strip().removeprefix("$ "), False) for line in blocks.splitlines()]
    lines += [(" ".join(code.split()), True) for code in CODE.findall(text)]
    found = []
    for line, is_prose in lines:
        line = re.sub(r"^(?:\w+=\S+ )+|^bin/", "", line).split("  #")[0]
        if line.startswith("retinanet ") and not ELIDED.search(line):
            found.append((shlex.split(line)[1:], is_prose))
    return found


CALLS = [
    pytest.param(call, is_prose, id=f"{page.name}: {' '.join(call)}"[:90])
    for page in PAGES
    for call, is_prose in commands(page.read_text(encoding="utf-8"))
]


def parsed(arguments):
    """What the program makes of arguments, without calling the verb."""
    group, names = typer.main.get_command(app), []
    while hasattr(group, "commands"):
        if not arguments or arguments[0] not in group.commands:
            raise typer.BadParameter(f"no verb {arguments[:1]}")
        names.append(arguments[0])
        group, arguments = group.commands[arguments[0]], arguments[1:]
    return group.make_context(" ".join(names), list(arguments)).params


def test_they_are_found():
    assert len(CALLS) > 80


def test_what_the_program_would_refuse_is_noticed():
    for wrong in (["evaluate", "run"], ["train", "--dat", "x"], ["no-verb"], ["data", "demo"]):
        with pytest.raises(Exception, match=r"(?i)missing|no such option|no verb"):
            parsed(wrong)
    assert commands("```\n$ retinanet predict run photos \\\n    --output found\n```\n") == [
        (["predict", "run", "photos", "--output", "found"], False)
    ]


@pytest.mark.parametrize(("call", "is_prose"), CALLS)
def test_verbs_options_and_settings_exist(call, is_prose, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        params = parsed(call)
    except Exception as error:
        # A verb or option that is only mentioned has not all of its arguments.
        text = type(error).__name__ + str(error)
        assert is_prose and ("Missing" in text or "requires an argument" in text), error
        return
    name = str(params.get("config") or "")
    is_file_or_placeholder = Path(name).suffix or name in ("", "CONFIG", "NAME")
    load_config("own_images" if is_file_or_placeholder else name, params.get("overrides") or [])
