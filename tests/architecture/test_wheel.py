"""The wheel holds what an installed package needs, and trains from it."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.system.distribution import DISTRIBUTION

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "keras_retinanet", "configs")
IS_NO_SOURCE = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built from a copy, since building leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "copy").mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "copy" / name, ignore=IS_NO_SOURCE)
        else:
            shutil.copy(ROOT / name, folder / "copy" / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--disable-pip-version-check", "--wheel-dir", folder, folder / "copy"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_it_is_called_by_the_free_name(wheel):
    assert wheel.name.startswith(DISTRIBUTION.replace("-", "_") + "-")
    assert wheel.name.endswith("-py3-none-any.whl")


def test_it_holds_every_file_of_the_package_and_of_configs_and_no_other(wheel):
    """Configs, HTML pages, experiments, py.typed: whatever lies there is needed."""

    def files(name, as_name):
        return {
            (Path(as_name) / path.relative_to(ROOT / name)).as_posix()
            for path in (ROOT / name).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    wanted = files("keras_retinanet", "keras_retinanet") | files(
        "configs", "keras_retinanet/configs"
    )
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == wanted
    for name in (
        "py.typed",
        "configs/quickstart.yaml",
        "configs/data/bccd.yaml",
        "paper/quick.yaml",
        "paper/experiments/table-1b.yaml",
        "reports/gallery_page.html",
    ):
        assert f"keras_retinanet/{name}" in held


def test_its_metadata_is_true(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    text = archive.read(metadata).decode()
    assert f"Name: {DISTRIBUTION}\n" in text
    assert "Author: The keras_retinanet authors\n" in text
    assert "License-Expression: Apache-2.0\n" in text
    assert "Classifier: Operating System :: POSIX :: Linux\n" in text
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())


@pytest.mark.slow
def test_installed_in_an_environment_of_its_own_it_trains_in_an_empty_folder(wheel, tmp_path):
    """The packages that it asks for are this environment's, so that no network is needed."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command):
        result = subprocess.run(
            [str(part) for part in command], cwd=work, env=clean, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    work = tmp_path / "work"
    work.mkdir()
    run(python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel)
    (site,) = environment.glob("lib/python3.*/site-packages")
    # As a .pth file of packages, but behind the new environment's own ones; an editable
    # installation of this checkout is no folder there and so does not come along.
    for package in sys.path:
        if Path(package).name == "site-packages":
            site.joinpath("packages.pth").write_text(package + "\n")
    where = run(python, "-c", "import keras_retinanet; print(keras_retinanet.__file__)")
    assert Path(where.strip()).is_relative_to(environment)

    write_demo_dataset(work / "data", num_train=4, num_val=2)
    tiny = ["image.size=64", "model.fpn_channels=8", "model.head_channels=8", "schedule.length=1"]
    retinanet = environment / "bin" / "retinanet"
    run(retinanet, "train", "quickstart", "--data", "data", "--output", "run", *tiny)
    assert (work / "run" / "best.keras").is_file()
    run(retinanet, "evaluate", "run/best.keras", "--data", "data")
    assert {path.name for path in work.iterdir()} == {"data", "run"}
