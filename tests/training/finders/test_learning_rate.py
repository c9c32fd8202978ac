import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.training.finders.learning_rate import (
    ExponentialRange,
    LearningRateSearch,
    find_learning_rate,
    write_search,
)


@pytest.fixture
def line():
    """y = 2 x, one weight, SGD: steps diverge above a rate of 2 / mean(2 x^2) = 1."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer=keras.optimizers.SGD(0.123), loss="mse")
    x = np.array([[1.0], [-1.0]], np.float32)
    return model, tf.data.Dataset.from_tensors((x, 2 * x)).repeat()


def test_rates_rise_by_the_same_factor():
    rates = np.array([float(ExponentialRange(1e-4, 1.0, 5)(step)) for step in range(5)])
    np.testing.assert_allclose(rates, [1e-4, 1e-3, 1e-2, 1e-1, 1], rtol=1e-5)


def test_finds_where_training_diverges_and_leaves_the_weights(line):
    model, batches = line
    before = model.get_weights()
    search = find_learning_rate(model, batches, start=1e-3, end=100.0, steps=40)
    np.testing.assert_array_equal(model.get_weights(), before)
    assert search.has_diverged and len(search.rates) < 40
    assert 0.1 < search.rates[search.lowest] < 10  # the smoothed loss comes after
    assert search.suggestion == pytest.approx(search.rates[search.lowest] / 10)
    # Gradient descent by hand, at the rates that are said.
    weight = float(before[0][0, 0])
    for rate, loss in zip(search.rates[:20], search.losses[:20]):
        assert loss == pytest.approx((weight - 2) ** 2, rel=1e-3)
        weight -= rate * 2 * (weight - 2)


def test_a_range_that_ends_too_early_is_told(line):
    search = find_learning_rate(*line, start=1e-5, end=1e-2, steps=30)
    assert not search.has_diverged and "raise --end" in search.remark
    assert len(search.rates) == 30 and search.rates[-1] == pytest.approx(1e-2)


def test_a_range_that_begins_too_high_is_told(line):
    search = find_learning_rate(*line, start=1.2, end=100.0, steps=40)
    assert "lower --start" in search.remark


def test_weights_are_put_back_after_an_error(line):
    model, _ = line
    before = model.get_weights()

    def broken():
        yield np.ones((2, 1), np.float32), np.ones((2, 1), np.float32)
        raise OSError("gone")

    spec = tf.TensorSpec((2, 1), tf.float32)
    batches = tf.data.Dataset.from_generator(broken, output_signature=(spec, spec))
    with pytest.raises(Exception, match="gone"):
        find_learning_rate(model, batches, start=0.1, end=1.0, steps=5)
    np.testing.assert_array_equal(model.get_weights(), before)


def test_files(tmp_path):
    search = LearningRateSearch([0.01, 0.1, 1.0], [3, 1, 9], [3, 2, 8], True)
    data, plot = write_search(search, tmp_path / "new")
    found = json.loads(data.read_text())
    assert found["suggestion"] == pytest.approx(0.01)
    assert found["rates"] == [0.01, 0.1, 1.0] and "a tenth" in found["rule"]
    assert np.asarray(Image.open(plot).convert("L")).std() > 10
