"""The site of docs/: built without a warning or a network, searchable, with all references."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import keras_retinanet as kr
from keras_retinanet.cli.app import app
from keras_retinanet.config.schema import Config

for needed in ("sphinx", "myst_parser", "furo"):
    pytest.importorskip(needed, reason="needs the extra docs")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.stem for path in DOCS.glob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; a warning is an error, and there is no way to a network."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
    run = subprocess.run(
        [*command, "-d", folder / "doctrees", DOCS, folder / "html"],
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return folder / "html"


def text_of(site, page):
    """What a reader sees of a page, roughly."""
    html = (site / f"{page}.html").read_text(encoding="utf-8")
    html = re.sub(r"<[^>]+>", "", html.partition("<article")[2].partition("</article>")[0])
    return re.sub(r"&(?:#39|#x27|quot|amp|lt|gt);", "?", html)


def test_every_page_is_in_the_navigation(site):
    links = set(re.findall(r'href="(\w+)\.html', (site / "index.html").read_text(encoding="utf-8")))
    assert links >= set(PAGES) - {"index"}


def test_search_finds_pages_by_their_words(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    found = json.loads(index.removeprefix("Search.setIndex(").rstrip().removesuffix(")"))
    assert set(found["docnames"]) == set(PAGES)
    (mosaic,) = [number for number, name in enumerate(found["docnames"]) if name == "augmentation"]
    where = found["terms"]["mosaic"]
    assert mosaic in (where if isinstance(where, list) else [where])


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.glob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert not re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//[^"]*', html
        ), page


@pytest.mark.parametrize("name", kr.__all__)
def test_the_api_has_every_public_name(site, name):
    html = (site / "api.html").read_text(encoding="utf-8")
    assert f'id="keras_retinanet.{name}"' in html


def test_what_one_line_of_a_docstring_describes_has_an_entry_each(site):
    html = (site / "api.html").read_text(encoding="utf-8")
    for name in ("heights", "widths", "class_names", "category_ids"):
        assert f"<strong>{name}</strong>" in html


def test_the_settings_are_all_there(site):
    html = (site / "settings.html").read_text(encoding="utf-8")
    for section, field in Config.model_fields.items():
        assert f'id="{section.replace("_", "-")}"' in html
        for name in field.annotation.model_fields:
            assert f">{name}</span></code>" in html, name


def test_the_verbs_are_all_there(site):
    text = text_of(site, "commands")
    for name, command in typer.main.get_command(app).commands.items():
        below = getattr(command, "commands", None)
        for each in [name] if below is None else [f"{name} {sub}" for sub in below]:
            assert f"retinanet {each}" in text
    assert "--shard I/N" in " ".join(text.split())
