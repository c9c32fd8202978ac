import keras
import numpy as np
import pytest

from keras_retinanet.optimizers.schedules import WarmupSchedule

# The paper's: 90k iterations, 0.01, divided by 10 at 60k and 80k.
DROPS = (60_000, 80_000)


def rates(schedule, *steps):
    return [float(schedule(step)) for step in steps]


def test_constant_without_settings():
    np.testing.assert_allclose(rates(WarmupSchedule(0.3), 0, 1, 10**6), 0.3, rtol=1e-6)


def test_drops_at_exact_steps():
    schedule = WarmupSchedule(0.01, drops=DROPS)
    steps = (0, 59_999, 60_000, 79_999, 80_000, 90_000)
    expected = [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001]
    np.testing.assert_allclose(rates(schedule, *steps), expected, rtol=1e-6)


def test_factor():
    schedule = WarmupSchedule(1.0, drops=(2, 4), factor=0.5)
    np.testing.assert_allclose(rates(schedule, 1, 2, 3, 4), [1, 0.5, 0.5, 0.25])


def test_warmup_is_linear_and_ends_at_the_rate():
    schedule = WarmupSchedule(0.02, warmup_iterations=500, warmup_start=0.25)
    expected = 0.02 * np.array([0.25, 0.25 + 0.75 / 500, 0.25 + 0.75 * 0.5, 1.0, 1.0])
    np.testing.assert_allclose(rates(schedule, 0, 1, 250, 500, 501), expected, rtol=1e-6)


def test_warmup_may_start_at_zero():
    np.testing.assert_allclose(
        rates(WarmupSchedule(1.0, warmup_iterations=4), 0, 1, 4), [0, 0.25, 1]
    )


def test_warmup_and_drops_multiply():
    schedule = WarmupSchedule(1.0, drops=(5,), warmup_iterations=10, warmup_start=0.0)
    np.testing.assert_allclose(rates(schedule, 4, 5, 10), [0.4, 0.05, 0.1], rtol=1e-6)


def test_cosine_end_points():
    schedule = WarmupSchedule(0.1, cosine_length=100)
    np.testing.assert_allclose(
        rates(schedule, 0, 25, 50, 75, 100, 1000),
        [0.1, 0.05 * (1 + 0.5**0.5), 0.05, 0.05 * (1 - 0.5**0.5), 0, 0],
        rtol=1e-5,
        atol=1e-9,
    )


def test_cosine_starts_where_the_warmup_ends():
    schedule = WarmupSchedule(0.1, cosine_length=110, warmup_iterations=10)
    np.testing.assert_allclose(rates(schedule, 5, 10, 60, 110), [0.05, 0.1, 0.05, 0], atol=1e-8)
    assert np.all(np.diff(rates(schedule, *range(10, 111, 10))) < 0)


@pytest.mark.parametrize("length", [1, 10])
def test_cosine_no_longer_than_the_warmup_is_finite(length):
    schedule = WarmupSchedule(0.1, cosine_length=length, warmup_iterations=10)
    assert np.isfinite(rates(schedule, *range(12))).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"drops": DROPS, "factor": 0.5},
        {"cosine_length": 500, "warmup_iterations": 50, "warmup_start": 0.1},
    ],
)
def test_serialization_keeps_the_rates(settings):
    schedule = WarmupSchedule(0.05, **settings)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert copy.get_config() == schedule.get_config()
    steps = (0, 10, 60_000, 80_000)
    assert rates(copy, *steps) == rates(schedule, *steps)


def test_optimizer_follows_the_schedule():
    """Without momentum a step is the rate times the gradient: the rates of steps 0, 1, 2, ..."""
    optimizer = keras.optimizers.SGD(WarmupSchedule(1.0, warmup_iterations=2, drops=(3,)))
    variable = keras.Variable([0.0])
    positions = [0.0]
    for _ in range(5):
        optimizer.apply([np.ones(1, "float32")], [variable])
        positions.append(float(variable[0]))
    np.testing.assert_allclose(-np.diff(positions), [0, 0.5, 1, 0.1, 0.1], rtol=1e-5)
