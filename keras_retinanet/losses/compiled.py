"""What is given to `compile` as a loss, made the one loss of a detector."""

from typing import Any

import keras

from keras_retinanet.losses.box import CIoULoss, DIoULoss, GIoULoss, SmoothL1
from keras_retinanet.losses.detection import DetectionLoss

# By the outputs of the model, as Keras names losses in a dict.
PARTS = {"class_logits": "class_loss", "box_deltas": "box_loss"}
_WRITE = "write loss=kr.DetectionLoss(class_loss=kr.FocalLoss(), box_loss=kr.SmoothL1())"


def as_detection_loss(loss: Any) -> Any:
    """Return the loss to compile with: a class or box loss alone gets the other by default.

    Raises:
        ValueError: it is nothing that a detector can be trained with.
    """
    if isinstance(loss, SmoothL1 | GIoULoss | DIoULoss | CIoULoss):
        return DetectionLoss(box_loss=loss)
    if isinstance(loss, keras.losses.Loss):
        _refuse_of_keras(loss)
        return DetectionLoss(class_loss=loss)
    if isinstance(loss, dict):
        unknown = [str(name) for name in loss if name not in PARTS]
        if unknown:
            raise ValueError(
                f"loss has {', '.join(unknown)}: the outputs are {' and '.join(PARTS)}; {_WRITE}"
            )
        for part in loss.values():
            _refuse_of_keras(part)
        return DetectionLoss(**{PARTS[name]: part for name, part in loss.items()})
    if loss is None or callable(loss):
        return loss
    raise ValueError(f"loss must be a DetectionLoss, got {loss!r}: {_WRITE}")


def _refuse_of_keras(loss: Any) -> None:
    """Refuse Keras' own: their `call` gives no value for each anchor, and knows no ignored ones."""
    name = loss if isinstance(loss, str) else type(loss).__name__
    if isinstance(loss, str) or type(loss).__module__.split(".")[0] == "keras":
        raise ValueError(
            f"loss must give a value for each anchor, which Keras' {name} does not: {_WRITE}"
        )
