"""YAML and Python blocks of every page: what the program reads, and code that compiles.

What can run without other projects' packages is run by the tests of its page.
"""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from keras_retinanet.config.schema import Config
from keras_retinanet.data.source import _read_source
from keras_retinanet.paper.experiment import load_experiment

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    pattern = re.compile(rf"^([ \t]*)```{language}\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
    return [
        pytest.param(re.sub(rf"(?m)^{match[1]}", "", match[2]), id=f"{page.name}-{i}")
        for page in PAGES
        for i, match in enumerate(pattern.finditer(page.read_text(encoding="utf-8")))
    ]


YAML, PYTHON = blocks("yaml"), blocks("python")


def test_there_are_blocks():
    assert len(YAML) > 15 and len(PYTHON) > 15


@pytest.mark.parametrize("block", YAML)
def test_yaml_is_what_the_program_reads(block, tmp_path):
    values = yaml.safe_load(block)
    if "apiVersion" in values:
        return  # Kubernetes': see test_cluster_commands.py
    path = tmp_path / "block.yaml"
    path.write_text(block)
    if "format" in values or "names" in values:
        _read_source(path)
    elif "rows" in values:
        assert load_experiment(str(path)).rows
    elif set(values) & set(Config.model_fields):
        values.pop("base", None)
        Config.model_validate(values)
    else:  # a part of a data YAML
        path.write_text(f"format: voc\nroot: .\nsplits: {{train: train}}\n{block}")
        _read_source(path)


@pytest.mark.parametrize("block", PYTHON)
def test_python_compiles_and_imports_what_is_there(block):
    if "import apache_beam" in block:
        pytest.importorskip("apache_beam")  # which is not to be had in every environment
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("keras_retinanet"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.util.find_spec(
                    f"{node.module}.{alias.name}"
                )
