"""Another distribution with the same import name is noticed, and only where there is one."""

import sys

import pytest

from keras_retinanet.system.distribution import DISTRIBUTION, clash_warning


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that installs distributions, given as name=version, and nothing else; each with
    `files`."""

    def install(
        files=("keras_retinanet/__init__.py", "keras_retinanet/losses/__init__.py"), **versions
    ):
        for name, version in versions.items():
            folder = tmp_path / f"{name}-{version}.dist-info"
            folder.mkdir()
            folder.joinpath("METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
            )
            for file in files:
                (tmp_path / file).parent.mkdir(exist_ok=True)
                (tmp_path / file).touch()
            record = "".join(f"{file},,\n" for file in files)
            folder.joinpath("RECORD").write_text(record)
        monkeypatch.setattr(sys, "path", [str(tmp_path)])

    return install


def test_ours_alone_is_no_clash(installed):
    installed(retinanet_keras="0.1.0", gkeras_retinanet="0.5.0")
    assert clash_warning() is None


def test_a_checkout_of_ours_by_the_former_name_is_no_clash(installed):
    installed(keras_retinanet="0.1.0", files=["__editable__.keras_retinanet-0.1.0.pth"])
    assert clash_warning() is None


@pytest.mark.parametrize("ours", [{}, {"retinanet_keras": "0.1.0"}])
def test_the_other_project_is_named_with_what_to_do(installed, ours):
    installed(keras_retinanet="1.0.0", **ours)
    warning = clash_warning()
    assert "keras-retinanet 1.0.0 is installed" in warning
    assert f"pip uninstall keras-retinanet {DISTRIBUTION}, then install" in warning
    assert warning.isprintable()


@pytest.mark.parametrize("status", [0, 2])
def test_the_command_line_says_it_in_one_line_and_goes_on(call, installed, capfd, status):
    installed(keras_retinanet="1.0.0")
    assert call("config", "quickstart" if status == 0 else "quickstrat") == status
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == (1 if status == 0 else 2)
    assert lines[0].startswith("warning: keras-retinanet 1.0.0")
