"""docs/api.md: every public name is there, with its docstring and an example that is true."""

import doctest
import re
from pathlib import Path

import pytest

import keras_retinanet as kr
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.geometry.input_policy import InputPolicy

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
# Each name's heading, directive and example.
PARTS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_tiny, small_resnet18):
    """The folder that the page describes, with a smaller data set and model."""
    folder = tmp_path_factory.mktemp("api")
    write_demo_dataset(folder / "data", num_train=8, num_val=4)
    names = kr.load_dataset(folder / "data", "train").class_names
    policy = InputPolicy("square", 64)
    make_tiny(class_names=names, channels=8, prior=0.4, input_policy=policy).save(
        folder / "best.keras"
    )
    return folder


def test_every_public_name_is_there_and_no_other():
    assert sorted(PARTS) == kr.__all__


@pytest.mark.parametrize("name", kr.__all__)
def test_docstring_and_example(name, folder, monkeypatch):
    assert re.search(rf"^\.\. auto(class|function):: keras_retinanet\.{name}$", PARTS[name], re.M)
    assert (getattr(kr, name).__doc__ or "").strip()
    (example,) = re.findall(r"```pycon\n(.*?)```", PARTS[name], re.DOTALL)
    assert re.search(rf"\bkr\.{name}\b", example) or name == "DetectionDataset"
    monkeypatch.chdir(folder)
    test = doctest.DocTestParser().get_doctest(example, {"kr": kr}, name, "docs/api.md", 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not said, "".join(said)
