"""The README's examples do what they say."""

import json
import re
import shlex
from pathlib import Path

import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import split_names

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    every = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in every if name == language]


@pytest.mark.parametrize("block", blocks("yaml"))
def test_data_yaml(block, tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(block)
    assert split_names(path) == ["train", "val"]


# The same training, shorter.
SHORTER = "schedule.length=1 image.size=64 model.fpn_channels=8 model.head_channels=8"


@pytest.mark.slow
def test_commands_run(call, tmp_path, monkeypatch, small_resnet18):
    folder = tmp_path
    source = write_demo_dataset(tmp_path / "data", num_train=8, num_val=4)
    assert (
        call("data", "convert", "--data", source, "--to", "voc", "--output", tmp_path / "voc") == 0
    )
    (tmp_path / "voc" / "JPEGImages").rename(tmp_path / "photos")
    for file in (tmp_path / "voc" / "Annotations").iterdir():
        file.rename(tmp_path / "photos" / file.name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # of timed steps
    commands = [line for block in blocks("") for line in block.splitlines()]
    commands = [shlex.split(line) for line in commands if line.startswith("retinanet ")]
    verbs = [command[1] for command in commands]
    assert verbs == ["data", "data", "train", "evaluate", "predict", "export"]
    for _, *arguments in commands:
        shorter = SHORTER.split() if arguments[0] == "train" else []
        assert call(*arguments, *shorter) == 0, arguments
    run = folder / "runs" / "first"
    assert (run / "report.html").is_file() and (run / "evaluation" / "report.html").is_file()
    found = json.loads((run / "pictures" / "predictions.json").read_text())
    assert len(found["images"]) == 12
    assert (folder / "serving" / "detector" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_the_first_result(call, tmp_path, monkeypatch, small_resnet18):
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert lines.pop(0).startswith("pip install .")
    smaller = {"demo": ["--num-train", "6", "--num-val", "4"], "quickstart": SHORTER.split()}
    for line in lines:
        _, *arguments = shlex.split(line, comments=True)
        assert call(*arguments, *smaller.get(arguments[1], [])) == 0, arguments
    assert (tmp_path / "look" / "sample.html").is_file()
    assert (tmp_path / "run" / "report.html").is_file()
    assert len(list((tmp_path / "found" / "images").iterdir())) == 4


def test_python_example_runs(tmp_path, monkeypatch, small_resnet18):
    write_demo_dataset(tmp_path / "data", num_train=4, num_val=4)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    # The same calls, smaller, and without a network to fetch weights from.
    smaller = {
        '"resnet50", ': '"resnet18", weights=None, fpn_channels=8, head_channels=8, head_depth=1, '
        'input_policy=kr.InputPolicy("square", 64), ',
        "epochs=12": "epochs=1",
        '"data.yaml"': '"data/data.yaml"',
    }
    for old, new in smaller.items():
        assert old in code
        code = code.replace(old, new)
    result = {}
    exec(code, result)
    assert 0 <= result["metrics"]["AP"] <= 1
    assert result["found"].boxes.shape == (len(result["found"]), 4)
    assert (tmp_path / "detector.keras").is_file()
    assert (tmp_path / "serving" / "detector" / "1" / "saved_model.pb").is_file()
