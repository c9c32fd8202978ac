"""pyproject.toml and the code agree: what is imported is asked for, and the reverse."""

import ast
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from keras_retinanet.system.distribution import DISTRIBUTION
from keras_retinanet.weights.published import published_weights

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Of distributions whose package is not called as they are.
IMPORTED_AS = {
    "pillow": "PIL",
    "pyyaml": "yaml",
    "ai-edge-litert": "ai_edge_litert",
    "opencv-python-headless": "cv2",
}
# Not imported: the file in it is found by the table of published weights.
DATA_ALONE = {
    entry.package.replace("-", "_") for entry in published_weights().values() if entry.package
}
# Brought by TensorFlow, TensorBoard, Typer and tf2onnx, and never without them.
BROUGHT_BY_OTHERS = {"google", "flatbuffers", "click", "onnx"}
# Not imported: it shows what a run has written.
PROGRAMS = {"tensorboard"}
FOR_A_CHECKOUT = {"benchmarks", "dev", "docs"}


def import_name(requirement):
    name = re.match(r"[\w.-]+", requirement)[0].lower()
    return IMPORTED_AS.get(name, name.replace("-", "_"))


def imported(folder):
    """The top-level names that the files of a folder import, by statement or by import_module."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                names |= {a.value.split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    return names - set(sys.stdlib_module_names) - {"keras_retinanet"}


PACKAGE_IMPORTS = imported("keras_retinanet")
CORE = {import_name(requirement) for requirement in PROJECT["dependencies"]}
EXTRAS = {
    name: {import_name(requirement) for requirement in requirements}
    for name, requirements in PROJECT["optional-dependencies"].items()
}


def test_what_the_package_imports_is_what_it_asks_for():
    optional = set().union(*(v for k, v in EXTRAS.items() if k not in FOR_A_CHECKOUT))
    assert CORE | optional >= PACKAGE_IMPORTS - BROUGHT_BY_OTHERS
    assert optional >= DATA_ALONE
    assert PACKAGE_IMPORTS >= CORE - PROGRAMS


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - FOR_A_CHECKOUT))
def test_an_extra_exists_only_where_the_package_imports_it(extra):
    assert EXTRAS[extra] <= PACKAGE_IMPORTS | DATA_ALONE


def test_the_benchmarks_extra_is_what_benchmarks_import():
    assert EXTRAS["benchmarks"] <= imported("benchmarks")


def test_the_docs_extra_is_what_the_site_and_its_notebook_need():
    """Sphinx and what conf.py names; the notebook's parts are imported by its test."""
    named = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
    for test in ("test_site.py", "test_notebook.py"):
        named += (ROOT / "tests" / "docs" / test).read_text(encoding="utf-8")
    kernel = {"ipykernel"}  # started by nbclient, by the name in the notebook
    assert EXTRAS["docs"] - kernel <= set(re.findall(r"\w+", named))


def test_the_distribution_is_called_as_the_code_says():
    assert PROJECT["name"] == DISTRIBUTION


FOR_TESTS = [x for extra in ("dev", "docs") for x in PROJECT["optional-dependencies"][extra]]


def pins():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))


def test_everything_that_tests_need_is_pinned_and_from_no_named_host():
    asked = [*PROJECT["dependencies"], *FOR_TESTS]
    names = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in asked}
    assert names <= pins()
    assert "://" not in (ROOT / "requirements.txt").read_text(encoding="utf-8")


def test_pins_fit_what_is_asked_for():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE)
    for asked in [*PROJECT["dependencies"], *FOR_TESTS]:
        requirement = Requirement(asked)
        versions = [v for name, v in pinned if name == requirement.name.lower()]
        assert versions and all(requirement.specifier.contains(v) for v in versions), asked
