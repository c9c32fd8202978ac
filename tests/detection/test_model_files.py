"""Model files: whole or not there, and loaded with an error that says what is wrong."""

import keras
import numpy as np
import pytest

from keras_retinanet.detection.model_files import load_model
from keras_retinanet.errors import WeightsError
from keras_retinanet.losses import DetectionLoss
from keras_retinanet.models.saving import save_for_inference, save_model

pytestmark = pytest.mark.usefixtures("small_resnet18")


def test_inference_file_has_weights_and_no_optimizer(make_tiny, make_batch, tmp_path):
    model = make_tiny(channels=8)
    model.compile(optimizer=keras.optimizers.Adam(), loss=DetectionLoss())
    images, targets = make_batch(model, (1, 2))
    model.train_on_batch(images, targets)
    save_model(model, tmp_path / "whole.keras")
    save_for_inference(model, tmp_path / "use.keras")
    whole, use = load_model(tmp_path / "whole.keras"), load_model(tmp_path / "use.keras")
    assert int(whole.optimizer.iterations) == 1
    assert not use.compiled
    for a, b in zip(whole.get_weights(), use.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_failed_save_leaves_the_old_file(make_tiny, tmp_path, monkeypatch):
    model = make_tiny(channels=8)
    path = tmp_path / "model.keras"
    save_model(model, path)
    before = path.read_bytes()

    def fail(file):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(model, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(model, path)
    assert path.read_bytes() == before


def test_missing_file(tmp_path):
    with pytest.raises(WeightsError, match="there is no model file"):
        load_model(tmp_path / "model.keras")


def test_damaged_file(make_tiny, tmp_path):
    path = tmp_path / "model.keras"
    make_tiny(channels=8).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load_model(path)


def test_other_kind_of_file(tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"not a \.keras file"):
        load_model(path)


def test_other_model(tmp_path):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(WeightsError, match="not a RetinaNet"):
        load_model(path)
