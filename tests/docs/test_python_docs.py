"""docs/python.md: its examples run, one after the other, as a reader would run them."""

import re
from pathlib import Path

import pytest
from PIL import Image

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.geometry.input_policy import InputPolicy

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
DETECT, SETTINGS, TRAIN, TARGETS, BACKBONE, VARIANT = re.findall(
    r"```python\n(.*?)```", PAGE, re.DOTALL
)
# The same calls, smaller.
SMALLER = (
    ', fpn_channels=8, head_channels=8, head_depth=1, input_policy=kr.InputPolicy("square", 64))'
)


@pytest.fixture
def run(tmp_path, monkeypatch, make_tiny, small_resnet18):
    """A function that runs an example in the folder of the page, after those before it."""
    folder = write_demo_dataset(tmp_path / "data", num_train=4, num_val=2).parent
    for name in ("cat", "dog"):
        Image.new("RGB", (80, 60), "grey").save(folder / f"{name}.jpg")
    model = make_tiny(channels=8, prior=0.4, input_policy=InputPolicy("square", 64))
    model.save(folder / "best.keras")
    monkeypatch.chdir(folder)
    names = {}

    def run(code):
        exec(code, names)
        return names

    return run


def test_detecting(run):
    assert len(run(DETECT)["found"]) == 100
    found = run(SETTINGS)["found"]
    assert [len(each) for each in found] == [20, 20]


def test_training_and_targets(run, tmp_path):
    assert "weights=None)" in TRAIN
    run(DETECT.splitlines()[0])
    names = run(TRAIN.replace("weights=None)", "weights=None" + SMALLER))
    assert 0 <= names["metrics"]["AP"] <= 1
    assert (tmp_path / "data" / "detector.keras").is_file()
    names = run(TARGETS)
    _, targets = next(names["mine"].as_numpy_iterator())
    assert targets["gt_boxes"].shape == (2, 10, 4)
    assert (targets["matches"] == 0).any()


@pytest.mark.slow
def test_a_backbone_of_keras(run):
    names = run(DETECT.splitlines()[0])
    names["train_set"] = names["kr"].load_dataset("data.yaml", "train")
    model = run(BACKBONE)["model"]
    assert model.detect("cat.jpg").boxes.shape[1] == 4


def test_a_network_of_another_project(run):
    run(DETECT.splitlines()[0])
    model = run(VARIANT)["model"]
    assert model.get_layer("class_head_norm_3").groups == 32
    assert model.anchor_generator.integer_sizes
