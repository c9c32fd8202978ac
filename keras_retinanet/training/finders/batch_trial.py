"""One try of a batch size: training steps at a size, in a process of their own.

`python -m keras_retinanet.training.finders.batch_trial` reads a `Trial` as JSON and
writes, as its last line, what came of it.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from keras_retinanet.config.schema import Config

# The first makes the graph; in the second, the optimizer's state is there, too.
STEPS = 3


@dataclass
class Trial:
    """What is tried: the config with this batch size, on a canvas, with so many objects."""

    config: dict[str, Any]
    batch_size: int
    height: int
    width: int
    num_classes: int
    max_objects: int


def run(trial: Trial) -> dict[str, Any]:
    """Train for a few steps on random images; return "fits", "step_seconds" and "peak_bytes"."""
    from keras_retinanet.system.memory import peak_memory
    from keras_retinanet.training.setup.memory_errors import is_memory_error

    try:
        step_seconds = _train(trial)
    except Exception as error:
        if not is_memory_error(error):
            raise
        return {"fits": False}
    return {"fits": True, "step_seconds": step_seconds, "peak_bytes": peak_memory()}


def _train(trial: Trial) -> float:
    """Return the seconds of the fastest step, the first left out, of a training with the config."""
    import keras
    import tensorflow as tf

    from keras_retinanet.training.setup.prepare import compiled_model
    from keras_retinanet.training.strategies import make_strategy

    config = Config.model_validate(trial.config)
    times = []

    class Times(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
            self.begin = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            times.append(time.perf_counter() - self.begin)

    strategy = make_strategy(config.training.strategy, tpu=config.training.tpu)
    names = tuple(str(i) for i in range(trial.num_classes))
    model = compiled_model(config, names, steps_per_epoch=STEPS, strategy=strategy)
    batches = tf.data.Dataset.from_tensors(_random_batch(trial, model.anchor_generator)).repeat()
    model.fit(batches, steps_per_epoch=STEPS, callbacks=[Times()], shuffle=False, verbose=0)
    return min(times[1:])


def _random_batch(trial: Trial, anchor_generator: Any) -> tuple[Any, dict[str, Any]]:
    """Return images and targets of the shapes that training has, with objects for some anchors."""
    import numpy as np

    from keras_retinanet.conventions import BACKGROUND

    anchors = np.asarray(anchor_generator(trial.height, trial.width))
    matches = np.full((trial.batch_size, len(anchors)), BACKGROUND, np.int32)
    matches[:, :: max(1, len(anchors) // 100)] = 0  # some anchors have an object
    boxes = np.zeros((trial.batch_size, trial.max_objects, 4), np.float32)
    boxes[..., 2:] = min(trial.height, trial.width) / 4
    labels = np.zeros(boxes.shape[:2], np.int32)
    shape = (trial.batch_size, trial.height, trial.width, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return images, {"gt_boxes": boxes, "gt_labels": labels, "matches": matches}


def main() -> None:
    """Run the trial that standard input describes."""
    result = run(Trial(**json.load(sys.stdin)))
    print(json.dumps(result))


def as_json(trial: Trial) -> str:
    return json.dumps(asdict(trial))


if __name__ == "__main__":
    main()
