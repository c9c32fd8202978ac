"""The config for a training without one, and the settings of it that follow from the data."""

# A config that is shipped with the package.
NAME = "own_images"
# From random values, a detector needs about so many steps, and no image so many more epochs.
STEPS = 1200
FEWEST_EPOCHS, MOST_EPOCHS = 12, 100
EVALUATIONS = 10


def settings_for(*, num_images: int, batch_size: int, has_val: bool) -> list[str]:
    """Return the "key=value" settings of the config `NAME` for so many training images."""
    steps_per_epoch = -(-num_images // batch_size)
    # As many images, and thus fewer steps, in larger batches: their rate is larger, too.
    num_epochs = min(max(round(STEPS / steps_per_epoch), FEWEST_EPOCHS), MOST_EPOCHS)
    settings = [
        f"schedule.length={num_epochs}",
        f"training.evaluate_every={max(1, num_epochs // EVALUATIONS)}",
    ]
    # Without a split val there is no AP to watch.
    return settings if has_val else [*settings, "early_stopping.monitor=null"]
