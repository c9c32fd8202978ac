"""RunCallback: what a run asks of its own callbacks, beside what Keras does."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_retinanet.evaluation.evaluate import CocoEvaluator

LOGGED_FIGURES = ("AP", "AP50", "AP75")


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and after which step."""

    epoch: int  # from 1 on
    step: int
    metrics: dict[str, Any]
    found: CocoEvaluator
    seconds: float

    @property
    def logs(self) -> dict[str, float]:
        """The figures for an epoch's logs; one that there is nothing to measure on is left out."""
        figures = {name: self.metrics[name] for name in LOGGED_FIGURES}
        figures["evaluation_seconds"] = self.seconds
        return {name: value for name, value in figures.items() if value is not None}


class RunCallback(keras.callbacks.Callback):
    """A callback whose state survives a restart, and that hears of evaluations.

    Attributes:
        stop_reason: why it ended the training, once it has.
    """

    stop_reason: str | None = None

    def get_state(self) -> dict[str, Any]:
        """Return what a checkpoint is to keep, as JSON holds it."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what `get_state` returned; before `fit` goes on."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Hear of an evaluation; at an epoch's end before `on_epoch_end`."""
