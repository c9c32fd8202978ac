"""Progress: how many steps and epochs of a training are done."""

import keras


class Progress(keras.callbacks.Callback):
    """Counts the steps, over all the `fit` calls and restarts of a training.

    The other callbacks read it: it comes first.

    Attributes:
        num_epochs, steps_per_epoch: of the whole training.
        step: steps done, of the whole training.
        epochs_ended: epochs whose end has begun, with all that is done there.
    """

    def __init__(self, *, num_epochs: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.num_epochs = num_epochs
        self.steps_per_epoch = steps_per_epoch
        self.step = 0
        self.epochs_ended = 0
        self._first_of_call = 0

    @property
    def epoch(self) -> int:
        """The epoch that is running or just over, from 1 on."""
        return max(1, -(-self.step // self.steps_per_epoch))

    @property
    def step_of_epoch(self) -> int:
        return self.step - (self.epoch - 1) * self.steps_per_epoch

    @property
    def is_epoch_end(self) -> bool:
        """Whether a whole number of epochs is done; Keras also ends one that was broken off."""
        return self.step > 0 and self.step % self.steps_per_epoch == 0

    @property
    def place(self) -> tuple[int, int]:
        """The epochs that have ended, and the steps done since: where a training goes on."""
        return self.epochs_ended, self.step - self.epochs_ended * self.steps_per_epoch

    def go_on_from(self, epochs_ended: int, steps: int) -> None:
        """Go on at a `place`."""
        self.epochs_ended = epochs_ended
        self.step = epochs_ended * self.steps_per_epoch + steps

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._first_of_call = batch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.step += batch - self._first_of_call + 1  # more than 1 with steps_per_execution

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.is_epoch_end:
            self.epochs_ended = self.epoch
