"""Progress: counted over calls of `fit` and restarts."""

import pytest

from keras_retinanet.training.progress import Progress


def run(progress, epochs, steps):
    for epoch in epochs:
        progress.on_epoch_begin(epoch)
        for batch in range(steps):
            progress.on_train_batch_begin(batch)
            progress.on_train_batch_end(batch)
        progress.on_epoch_end(epoch)


@pytest.mark.parametrize("step", range(1, 13))
def test_counts_as_by_hand(step):
    progress = Progress(num_epochs=3, steps_per_epoch=4)
    for epoch in range(3):
        for batch in range(4):
            progress.on_train_batch_begin(batch)
            progress.on_train_batch_end(batch)
            if progress.step == step:
                assert (progress.epoch, progress.step_of_epoch) == (epoch + 1, batch + 1)
                assert progress.is_epoch_end == (batch == 3)
                assert progress.place == (epoch, batch + 1)
        progress.on_epoch_end(epoch)
        assert progress.place == (epoch + 1, 0)


@pytest.mark.parametrize("place", [(0, 0), (0, 3), (0, 4), (1, 0), (2, 4)])
def test_goes_on_where_it_was(place):
    progress = Progress(num_epochs=3, steps_per_epoch=4)
    progress.go_on_from(*place)
    assert progress.place == place
    assert progress.step == 4 * place[0] + place[1]


def test_an_epoch_that_was_broken_off_has_not_ended():
    progress = Progress(num_epochs=3, steps_per_epoch=4)
    run(progress, [0], 3)
    assert progress.place == (0, 3) and not progress.is_epoch_end


def test_before_the_first_step():
    progress = Progress(num_epochs=3, steps_per_epoch=4)
    assert (progress.epoch, progress.step_of_epoch, progress.place) == (1, 0, (0, 0))
    assert not progress.is_epoch_end


def test_several_steps_in_one_call():
    """With steps_per_execution Keras tells the first and the last."""
    progress = Progress(num_epochs=1, steps_per_epoch=4)
    for first, last in ((0, 1), (2, 3)):
        progress.on_train_batch_begin(first)
        progress.on_train_batch_end(last)
    assert progress.step == 4 and progress.is_epoch_end
