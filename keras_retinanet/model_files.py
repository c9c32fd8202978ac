"""Model files (.keras): saving that never leaves half a file, loading that says what is wrong."""

import os
from pathlib import Path
from typing import Any

import keras

# Imported for what they register: a checkpoint names its loss, optimizer and schedule.
from keras_retinanet import losses, optimizers, schedules  # noqa: F401
from keras_retinanet.errors import WeightsError
from keras_retinanet.models.retinanet import RetinaNet


def save_model(model: RetinaNet, path: Path) -> None:
    """Save a model so that `path` is always either the old file or the whole new one."""
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    model.save(temporary)
    os.replace(temporary, path)


def save_for_inference(model: RetinaNet, path: Path) -> None:
    """Save a model without loss and optimizer: a third of the size, and for `RetinaNet` alone."""
    # Keras saves the optimizer's state into .keras files whatever `include_optimizer` says.
    save_model(copy_for_inference(model), path)


def copy_for_inference(model: RetinaNet, **settings: Any) -> RetinaNet:
    """Return a copy of a model without loss and optimizer, with other settings where given."""
    copy = RetinaNet.from_config({**model.get_config(), **settings})
    copy.set_weights(model.get_weights())
    return copy


def load_model(path: str | Path) -> RetinaNet:
    """Return the RetinaNet in a .keras file.

    Raises:
        WeightsError: there is no such file, it is damaged, or it holds another model.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"there is no model file {path}")
    if path.suffix != ".keras":
        raise WeightsError(f"{path} is not a .keras file, which training writes")
    try:
        model = keras.saving.load_model(path)
    except Exception as error:  # zip, JSON, HDF5 and Keras errors of every kind
        first_line = (str(error).strip() or repr(error)).splitlines()[0]
        raise WeightsError(f"{path} cannot be loaded as a model: {first_line}") from error
    if not isinstance(model, RetinaNet):
        raise WeightsError(f"{path} holds a {type(model).__name__} and not a RetinaNet")
    return model
