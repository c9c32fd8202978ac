"""LogLearningRate: the learning rate in the epoch's logs."""

import keras


class LogLearningRate(keras.callbacks.Callback):
    """Adds the learning rate at the end of the epoch to the logs."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)
