"""The README's examples do what they say."""

import re
from pathlib import Path

import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.source import split_names

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", blocks("yaml"))
def test_data_yaml(block, tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(block)
    assert split_names(path) == ["train", "val"]


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
