"""The public names: all there, loaded lazily, and told to type checkers as well."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import keras_retinanet

ROOT = Path(keras_retinanet.__file__).parent


@pytest.mark.parametrize("name", keras_retinanet.__all__)
def test_every_name_is_where_the_table_says(name):
    home = import_module(f"keras_retinanet.{keras_retinanet._PUBLIC[name]}")
    assert getattr(keras_retinanet, name) is getattr(home, name)
    assert name in dir(keras_retinanet)


def test_type_checkers_see_the_same_names():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {
        (alias.asname, node.module.removeprefix("keras_retinanet."))
        for node in block.body
        for alias in node.names
        if alias.asname == alias.name  # only `as` makes a name public to them
    }
    assert seen == set(keras_retinanet._PUBLIC.items())
    assert (ROOT / "py.typed").is_file()


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = keras_retinanet.nonsense


def test_the_package_is_imported_without_keras():
    code = "import sys, keras_retinanet; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent).returncode == 0


def test_version_is_the_projects():
    project = (ROOT.parent / "pyproject.toml").read_text()
    assert re.findall(r'^version = "(.*)"$', project, re.M) == [keras_retinanet.__version__]


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, keras_retinanet",
        "import keras_retinanet, keras",
        "import keras_retinanet as kr; kr.InputPolicy; import keras",
        "import keras_retinanet, tensorflow as tf; tf.keras; import keras",
    ],
)
def test_keras_loads_saved_models_after_importing_the_package(imports):
    code = f"{imports}; print(*keras.saving.get_custom_objects())"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True, check=True
    )
    assert {f"keras_retinanet>{x}" for x in ("RetinaNet", "DetectionLoss", "SGDWithL2")} <= set(
        run.stdout.split()
    )
