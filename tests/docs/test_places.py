"""The files, modules and verbs that the documents and docstrings name are there."""

import importlib.util
import re
from importlib import import_module
from pathlib import Path

import pytest
import typer

from keras_retinanet.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FILE = re.compile(
    r"\b(?:keras_retinanet|tests|benchmarks|configs)/[\w/-]+\.(?:py|yaml)\b|(?<![\w/])bin/\w+"
)
DOTTED = re.compile(r"\bkeras_retinanet(?:\.\w+)+")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")
VERB = re.compile(r"(?:^|`|bin/)retinanet (data [a-z]+|[a-z][a-z-]*)", re.MULTILINE)

# Packages that some modules need, and that not every environment can have.
OPTIONAL = {"apache_beam"}


def found(pattern, path):
    return sorted(set(pattern.findall(path.read_text(encoding="utf-8"))))


def in_pages(pattern):
    return [pytest.param(p, x, id=f"{p.name}:{x}") for p in PAGES for x in found(pattern, p)]


def is_there(dotted):
    """Whether a module has the name, or what is defined in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:end]))
        except ModuleNotFoundError:  # its parent is a module without others in it
            continue
        if spec is not None:
            try:
                owner = import_module(".".join(parts[:end]))
            except ModuleNotFoundError as error:
                if error.name not in OPTIONAL or parts[end:]:
                    raise
                return True  # the module is there, and what it needs is not
            for name in parts[end:]:
                if not hasattr(owner, name):
                    return False
                owner = getattr(owner, name)
            return True
    return False


def test_what_is_not_there_is_noticed():
    assert is_there("keras_retinanet.errors.DataError")
    assert not is_there("keras_retinanet.errors.NoError")
    assert not is_there("keras_retinanet.no_room.errors")


@pytest.mark.parametrize(("page", "name"), in_pages(FILE))
def test_files(page, name):
    assert (ROOT / name).is_file()


@pytest.mark.parametrize(("page", "target"), in_pages(LINK))
def test_links(page, target):
    assert (page.parent / target).exists()


@pytest.mark.parametrize(("page", "name"), in_pages(DOTTED))
def test_modules(page, name):
    assert is_there(name)


@pytest.mark.parametrize(("page", "verb"), in_pages(VERB))
def test_verbs(page, verb):
    command = typer.main.get_command(app)
    for name in verb.split():
        assert name in command.commands
        command = command.commands[name]


@pytest.mark.parametrize("folder", ["keras_retinanet", "tests", "benchmarks"])
def test_docstrings_and_comments(folder):
    named = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / folder).rglob("*.py")
        for name in found(FILE, path)
        if path != Path(__file__)
    }
    assert not [pair for pair in sorted(named) if not (ROOT / pair[1]).is_file()]


# Sentences that were put plainly, so that they do not come back.
STILTED = re.compile(
    r"(?:was|were|be) seen to|gone on with|learn(?:t|ed) by heart|than it is true|see the docs\."
)


@pytest.mark.parametrize(
    "path", [*PAGES, *(ROOT / "keras_retinanet" / "cli").rglob("*.py")], ids=str
)
def test_plain_english(path):
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert not STILTED.findall(text)
