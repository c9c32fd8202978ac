"""A few training steps and evaluated images of a config, timed in a process of their own.

`python -m keras_retinanet.training.planning.step_trial` reads a `StepTrial` as JSON and writes, as
its last line, what it took.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from keras_retinanet.config.schema import Config

# The first makes the graph and is left out.
STEPS = 7
# Images to train with, and to evaluate: enough for a few batches of both.
TRAIN_IMAGES, EVALUATED_IMAGES = 64, 16


@dataclass(frozen=True)
class StepTrial:
    """What is timed: a config on images of a data set, as `load_dataset` takes its name."""

    config: dict[str, Any]
    data: str


@dataclass(frozen=True)
class StepTimes:
    """What it took.

    Attributes:
        start: seconds until the first step was done.
        step: of a training step, the median.
        evaluated: of an image of an evaluation.
        pixels: of the network's input, the mean of an image that was trained with.
        peak_bytes: the most memory that was used.
    """

    start: float
    step: float
    evaluated: float
    pixels: float
    peak_bytes: int


def run(trial: StepTrial) -> StepTimes:
    """Train for a few steps, evaluate a few images, and tell how long it took."""
    import keras
    import numpy as np

    from keras_retinanet.data.source import load_dataset
    from keras_retinanet.evaluation.evaluate import DatasetEvaluation
    from keras_retinanet.system.memory import peak_memory
    from keras_retinanet.training.setup.prepare import prepare

    config = Config.model_validate(trial.config)
    dataset = load_dataset(trial.data, "train", decode_images=False)
    picked = np.unique(np.linspace(0, len(dataset) - 1, TRAIN_IMAGES).astype(np.int64))
    begin = time.perf_counter()
    setup = prepare(config, dataset.select(picked))
    seconds: list[float] = []

    class Times(keras.callbacks.Callback):
        """Seconds from one step to the next: waiting for a batch counts."""

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            seconds.append(time.perf_counter())

    setup.model.fit(
        setup.batches(), steps_per_epoch=STEPS, callbacks=[Times()], shuffle=False, verbose=0
    )
    evaluation = DatasetEvaluation(
        setup.model,
        dataset.select(picked[:EVALUATED_IMAGES]),
        batch_size=config.training.batch_size,
    )
    evaluation.run()  # makes the graph
    before = time.perf_counter()
    evaluation.run()
    evaluated = (time.perf_counter() - before) / min(len(picked), EVALUATED_IMAGES)
    canvas = setup.plan.epoch(0)["canvas_size"].astype(np.float64)
    return StepTimes(
        start=seconds[0] - begin,
        step=float(np.median(np.diff(seconds))),
        evaluated=evaluated,
        pixels=float(canvas.prod(axis=1).mean()),
        peak_bytes=peak_memory(),
    )


def as_json(trial: StepTrial) -> str:
    return json.dumps(asdict(trial))


def main() -> None:
    """Run the trial that standard input describes."""
    print(json.dumps(asdict(run(StepTrial(**json.load(sys.stdin))))))


if __name__ == "__main__":
    main()
