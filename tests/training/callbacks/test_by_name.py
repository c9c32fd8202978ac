import sys

import keras
import pytest

from keras_retinanet.errors import ConfigError
from keras_retinanet.training.callbacks.by_name import callbacks_by_name


class Counts(keras.callbacks.Callback):
    """What a user might have in a module of his own."""

    def __init__(self, start=0):
        super().__init__()
        self.epochs = start

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1


class NoCallback:
    pass


@pytest.fixture(autouse=True)
def _own_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_package.watch", sys.modules[__name__])
    monkeypatch.setitem(sys.modules, "my_package", sys.modules[__name__])


def test_by_name_and_with_arguments():
    plain, given = callbacks_by_name(
        ["my_package.watch.Counts", {"name": "my_package.watch.Counts", "start": 5}]
    )
    assert (plain.epochs, given.epochs) == (0, 5)
    (own,) = callbacks_by_name([{"name": "keras.callbacks.CSVLogger", "filename": "x.csv"}])
    assert isinstance(own, keras.callbacks.CSVLogger)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            "no_such_wandb.keras.Logger",
            "needs the package no_such_wandb.*pip install no_such_wandb",
        ),
        ("keras.no_such.Logger", "there is no module keras.no_such"),
        ("my_package.watch.Count", "has no Count: did you mean 'Counts'"),
        ("my_package.watch.NoCallback", "no class|not a class"),
        ({"name": "my_package.watch.Counts", "begin": 1}, r"Counts\(begin=1\) failed.*begin"),
    ],
)
def test_mistakes_are_told(entry, expected):
    with pytest.raises(ConfigError, match=expected):
        callbacks_by_name([entry])
