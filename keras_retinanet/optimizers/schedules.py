"""Learning-rate schedules: linear warm-up, then steps (the paper) or a cosine.

Keras has both, and a warm-up for the cosine alone.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_retinanet")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to `learning_rate`, followed by step drops or a cosine to zero.

    Args:
        drops: iterations after which the rate is multiplied by `factor`.
        cosine_length: iteration at which a cosine reaches zero; None: no cosine.
        warmup_iterations: the rate rises from `warmup_start` times itself over these (Goyal et al.
            2017, section 2.2).
    """

    def __init__(
        self,
        learning_rate: float,
        *,
        drops: Sequence[int] = (),
        factor: float = 0.1,
        cosine_length: int | None = None,
        warmup_iterations: int = 0,
        warmup_start: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self.drops = tuple(int(drop) for drop in drops)
        self.factor = factor
        self.cosine_length = cosine_length
        self.warmup_iterations = warmup_iterations
        self.warmup_start = warmup_start

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rate = ops.convert_to_tensor(self.learning_rate, "float32")
        for drop in self.drops:
            rate = ops.where(step >= drop, rate * self.factor, rate)
        if self.cosine_length is not None:
            share = ops.clip(
                (step - self.warmup_iterations)
                / max(self.cosine_length - self.warmup_iterations, 1),
                0.0,
                1.0,
            )
            rate = rate * 0.5 * (1.0 + ops.cos(math.pi * share))
        if self.warmup_iterations > 0:
            share = ops.minimum(step / self.warmup_iterations, 1.0)
            rate = rate * (self.warmup_start + (1.0 - self.warmup_start) * share)
        return rate

    def get_config(self) -> dict:
        return {
            "learning_rate": self.learning_rate,
            "drops": list(self.drops),
            "factor": self.factor,
            "cosine_length": self.cosine_length,
            "warmup_iterations": self.warmup_iterations,
            "warmup_start": self.warmup_start,
        }
