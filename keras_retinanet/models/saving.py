"""Saving a RetinaNet so that there is never half a file, and copies for inference. Keras only."""

from pathlib import Path
from typing import Any

from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.atomic_files import whole_file


def save_model(model: RetinaNet, path: Path) -> None:
    """Save a model so that `path` is always either the old file or the whole new one."""
    with whole_file(path, suffix=".keras") as unfinished:
        model.save(unfinished)


def save_for_inference(model: RetinaNet, path: Path | None) -> None:
    """Save a model without loss and optimizer: a third of the size, and for `RetinaNet` alone.

    Several workers have to call it together: reading their BatchNorm statistics takes all of them.
    Those with no `path` write nothing.
    """
    weights = model.get_weights()
    if path is None:
        return
    # Keras saves the optimizer's state into .keras files whatever `include_optimizer` says.
    save_model(_copy(model, weights), path)


def copy_for_inference(model: RetinaNet, **settings: Any) -> RetinaNet:
    """Return a copy of a model without loss and optimizer, with other settings where given."""
    return _copy(model, model.get_weights(), **settings)


def _copy(model: RetinaNet, weights: list, **settings: Any) -> RetinaNet:
    copy = RetinaNet.from_config({**model.get_config(), **settings})
    copy.set_weights(weights)
    return copy
