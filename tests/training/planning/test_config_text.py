"""A planned config as a file: every reason is in it, and it is read back to the same."""

import pytest
import yaml

from keras_retinanet.config.load import load_config
from keras_retinanet.training.planning.config_text import config_text
from keras_retinanet.training.planning.decision import Decision, config_of

DECISIONS = [
    Decision("image.size", 320, "objects: half of them are larger than 50 px # so many"),
    Decision("image.tile", {"size": 640, "overlap": 0.2}, "one: reason " * 30),
    Decision("anchors.sizes", [16.0, 32.0, 64.0, 128.0, 256.0], "fitted"),
    Decision("anchors.scales", [1.0, 1.26], "fitted"),
    Decision("model.weights", "none", "x"),
    Decision("training.repeat_threshold", None, "no class is rare"),
    Decision("image.horizontal_flip", False, "left: would be something else"),
]


@pytest.fixture
def text():
    return config_text(DECISIONS, title="Made by a test: é.", limits=["too few: images", "b"])


def test_it_is_read_back(text, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_config(path) == config_of(DECISIONS)
    values = yaml.safe_load(text)
    assert {f"{s}.{k}": v for s, vs in values.items() for k, v in vs.items()} == {
        decision.key: decision.value for decision in DECISIONS
    }


def test_every_reason_and_limit_is_there_and_lines_are_short(text):
    words = " ".join(line.strip().lstrip("#").strip() for line in text.splitlines())
    for decision in DECISIONS:
        assert " ".join(decision.reason.split()) in words
    assert "- too few: images" in words and "- b" in words
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("# fitted") == 1  # one reason for both
