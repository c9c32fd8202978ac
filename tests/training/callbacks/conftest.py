"""A training without a model: its callbacks are driven by hand."""

import pytest

from keras_retinanet.training.callbacks import Clock, Evaluation
from keras_retinanet.training.progress import Progress


class FakeModel:
    stop_training = False


class Time:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def seconds():
    return Time()


@pytest.fixture
def make_clock(seconds):
    def make(num_epochs=3, steps_per_epoch=4, batch_size=2, **options):
        progress = Progress(num_epochs=num_epochs, steps_per_epoch=steps_per_epoch)
        return Clock(progress=progress, batch_size=batch_size, now=seconds, **options)

    return make


@pytest.fixture
def drive(seconds):
    """A function that calls callbacks as `fit` does, after the Progress that they read.

    A step takes a second, what is between none.

    `steps`: of each epoch from `first_epoch` on; `logs_of` gives an epoch's logs.
    """

    def run(callbacks, steps, *, first_epoch=0, logs_of=lambda epoch: {"loss": 1.0}, model=None):
        model = model or FakeModel()
        callbacks = [callbacks[0].progress, *callbacks]
        for callback in callbacks:
            callback.set_model(model)
        for callback in callbacks:
            callback.on_train_begin()
        ends = []
        for epoch, count in enumerate(steps, start=first_epoch):
            for callback in callbacks:
                callback.on_epoch_begin(epoch)
            for batch in range(count):
                for callback in callbacks:
                    callback.on_train_batch_begin(batch)
                seconds.now += 1
                logs = {"loss": 1.0}
                for callback in callbacks:
                    callback.on_train_batch_end(batch, logs)
                if model.stop_training:
                    break
            logs = dict(logs_of(epoch))
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs)
            ends.append(logs)
            if model.stop_training:
                break
        for callback in callbacks:
            callback.on_train_end()
        return ends

    return run


@pytest.fixture
def evaluation_of():
    """A function: epoch, step, AP -> an Evaluation that found nothing."""

    def make(epoch, step, ap):
        names = ("AP", "AP50", "AP75")
        metrics = {**dict.fromkeys(names, ap), "per_class": {}}
        return Evaluation(epoch=epoch, step=step, metrics=metrics, found=None, seconds=0.5)

    return make
