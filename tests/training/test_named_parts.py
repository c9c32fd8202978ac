"""Losses and backbones of one's own in a config."""

import keras
import pytest

from keras_retinanet.config.load import dump_config, load_config
from keras_retinanet.errors import ConfigError
from keras_retinanet.losses import GIoULoss, SmoothL1
from keras_retinanet.training.setup.model_and_loss import build_model, make_loss

MODULE = """
import keras
from keras_retinanet.losses import FocalLoss


class Sharp(FocalLoss):
    def __init__(self):
        super().__init__(gamma=5.0)


def maps():
    x = image = keras.Input((None, None, 3))
    found = []
    for stage in range(5):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=f"mine_{stage}")(x)
        found.append(x)
    return keras.Model(image, found[2:], name="mine")


def broken():
    raise RuntimeError("no such file")
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine_for_tests.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "mine_for_tests"


def test_a_loss_of_one_s_own(mine):
    settings = [f"loss.class_loss={mine}.Sharp", "loss.box_loss=keras_retinanet.losses.GIoULoss"]
    loss = make_loss(load_config("quickstart", settings))
    assert loss.class_loss.get_config()["gamma"] == 5.0
    assert type(loss.box_loss) is GIoULoss
    assert type(make_loss(load_config("quickstart", settings[:1])).box_loss) is SmoothL1


def test_a_backbone_of_one_s_own_is_saved_with_the_model(mine, tmp_path):
    config = load_config("quickstart", [f"model.backbone={mine}.maps"])
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml") == config
    model = build_model(config, ("cat",))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("mine_4").kernel.shape == (3, 3, 8, 8)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("loss.class_loss=focall", "did you mean 'focal'"),
        ("model.backbone=resnet49", "did you mean 'resnet"),
        ("model.backbone=3", "model.backbone = 3"),
        ("loss.box_loss={m}.maps", "loss.box_loss: {m}.maps is no class of keras.losses.Loss"),
        ("loss.box_loss={m}.Sharpp", "{m} has no Sharpp: did you mean 'Sharp'"),
        ("model.backbone={m}.broken", r"{m}.broken\(\) failed: no such file"),
        ("model.backbone=nowhere.at_all", "needs the package nowhere"),
    ],
)
def test_mistakes_are_told(mine, setting, message):
    with pytest.raises(ConfigError, match=message.format(m=mine)):
        config = load_config("quickstart", [setting.format(m=mine)])
        make_loss(config)
        build_model(config, ("cat",))
