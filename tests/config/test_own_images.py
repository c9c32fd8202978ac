"""Training without a config: what follows from the number of images."""

import pytest

from keras_retinanet.config import own_images
from keras_retinanet.config.load import load_config


def sized(num_images, *, has_val=True, batch_size=4, changes=()):
    settings = own_images.settings_for(
        num_images=num_images, batch_size=batch_size, has_val=has_val
    )
    return load_config(own_images.NAME, [*settings, *changes])


@pytest.mark.parametrize(
    ("num_images", "epochs", "every"), [(1, 100, 10), (48, 100, 10), (205, 23, 2), (9999, 12, 1)]
)
def test_epochs_follow_the_number_of_images(num_images, epochs, every):
    config = sized(num_images)
    assert config.schedule.unit == "epochs"
    assert config.schedule.length == epochs
    assert config.training.evaluate_every == every
    assert config.early_stopping.monitor == "AP"


def test_without_val_no_ap_is_watched():
    assert sized(48, has_val=False).early_stopping.monitor is None


def test_what_is_given_comes_first():
    assert sized(48, changes=["schedule.length=3"]).schedule.length == 3
