"""SaveCheckpoints: the whole state after every epoch."""

from pathlib import Path

import keras

from keras_retinanet.model_files import save_model


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves the whole state, optimizer included, after every epoch, and keeps the last few."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        super().__init__()
        self.folder = folder
        self.keep = keep

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        save_model(self.model, self.folder / f"epoch_{epoch + 1:04d}.keras")
        for old in sorted(self.folder.glob("epoch_*.keras"))[: -self.keep]:
            old.unlink()
