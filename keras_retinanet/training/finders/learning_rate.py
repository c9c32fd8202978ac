"""The learning-rate finder: a few steps at rising rates, and the rate that the losses suggest."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

# Weight of the past in the smoothed loss.
SMOOTHING = 0.9
# The search ends where the smoothed loss is so many times its lowest value.
DIVERGED = 4.0
# The suggestion: this share of the rate at which the smoothed loss was lowest.
SUGGESTED_SHARE = 0.1
RULE = "a tenth of the rate at which the smoothed loss was lowest"


@dataclass
class LearningRateSearch:
    """What was measured: a rate, a loss and a smoothed loss for each step."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    has_diverged: bool
    rule: str = RULE

    @property
    def lowest(self) -> int:
        """The step at which the smoothed loss was lowest."""
        return int(np.argmin(self.smoothed))

    @property
    def suggestion(self) -> float:
        return self.rates[self.lowest] * SUGGESTED_SHARE

    @property
    def remark(self) -> str | None:
        """Why the suggestion may be worth little."""
        if not self.has_diverged and self.lowest > 0.95 * (len(self.rates) - 1):
            return "the loss was still falling at the last rate: raise --end"
        if self.lowest < 0.1 * len(self.rates):
            return "the loss rose from the beginning: lower --start"
        return None


class ExponentialRange(keras.optimizers.schedules.LearningRateSchedule):
    """From `start` to `end` in `steps` steps, by the same factor each."""

    def __init__(self, start: float, end: float, steps: int) -> None:
        self.start, self.end, self.steps = start, end, steps

    def __call__(self, step: Any) -> Any:
        share = ops.cast(step, "float32") / max(self.steps - 1, 1)
        return self.start * ops.exp(share * math.log(self.end / self.start))

    def get_config(self) -> dict:
        return {"start": self.start, "end": self.end, "steps": self.steps}


def find_learning_rate(
    model: keras.Model,
    batches: tf.data.Dataset,
    *,
    start: float = 1e-6,
    end: float = 1.0,
    steps: int = 100,
) -> LearningRateSearch:
    """Train for at most `steps` steps at rates from `start` to `end`; the weights are put back.

    Args:
        model: compiled with an optimizer that has made no step yet; its schedule is not used, and
            after the search the optimizer is not to be used either.
    """
    weights = [ops.convert_to_numpy(w) for w in model.weights]
    model.optimizer.learning_rate = ExponentialRange(start, end, steps)
    record = _Record()
    try:
        model.fit(
            batches, epochs=1, steps_per_epoch=steps, callbacks=[record], shuffle=False, verbose=0
        )
    finally:
        for variable, value in zip(model.weights, weights, strict=True):
            variable.assign(value)
    rates = start * (end / start) ** (np.arange(len(record.losses)) / max(steps - 1, 1))
    return LearningRateSearch(rates.tolist(), record.losses, record.smoothed, record.has_diverged)


class _Record(keras.callbacks.Callback):
    """Notes the loss of each step, and ends where it diverges."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.has_diverged = False
        self._average = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.model.reset_metrics()  # Keras' loss is a mean of the steps since then

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        loss = float((logs or {})["loss"])
        self._average = SMOOTHING * self._average + (1 - SMOOTHING) * loss
        smoothed = self._average / (1 - SMOOTHING ** (len(self.losses) + 1))
        is_finite = math.isfinite(smoothed)
        if is_finite:
            self.losses.append(loss)
            self.smoothed.append(smoothed)
        if not is_finite or smoothed > DIVERGED * min(self.smoothed):
            self.has_diverged = True
            self.model.stop_training = True


def write_search(search: LearningRateSearch, folder: Path) -> list[Path]:
    """Write learning_rate.json and learning_rate.png, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"suggestion": search.suggestion, "remark": search.remark, **asdict(search)}
    paths = [folder / "learning_rate.json", folder / "learning_rate.png"]
    paths[0].write_text(json.dumps(found, indent=1))
    _plot(search, paths[1])
    return paths


def _plot(search: LearningRateSearch, path: Path) -> None:
    # Not pyplot: no window, no state, and safe beside what the caller plots.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(search.rates, search.losses, color="#b8c4d0", linewidth=1, label="loss of a step")
    axes.plot(search.rates, search.smoothed, color="#0072B2", linewidth=2, label="smoothed")
    lowest = search.lowest
    axes.plot(search.rates[lowest], search.smoothed[lowest], "o", color="#D55E00", label="lowest")
    label = f"suggestion {search.suggestion:.2g}"
    axes.axvline(search.suggestion, color="#009E73", linestyle="--", label=label)
    axes.set_xscale("log")
    # A last step that explodes would flatten all that is to be seen.
    top = min(max(search.losses), 1.2 * DIVERGED * min(search.smoothed))
    axes.set_ylim(0, 1.05 * top)
    axes.set(xlabel="learning rate", ylabel="loss", title="Loss at rising learning rates")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=120)
