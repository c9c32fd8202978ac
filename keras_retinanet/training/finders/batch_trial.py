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
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_retinanet.geometry.matching import BACKGROUND
    from keras_retinanet.system.memory import peak_memory
    from keras_retinanet.training.memory_errors import is_memory_error
    from keras_retinanet.training.setup import build_model, make_loss, make_optimizer
    from keras_retinanet.training.train import make_strategy

    config = Config.model_validate(trial.config)
    times = []

    class Times(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
            self.begin = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            times.append(time.perf_counter() - self.begin)

    try:
        with make_strategy().scope():
            names = tuple(str(i) for i in range(trial.num_classes))
            model = build_model(config, names)
            model.compile(optimizer=make_optimizer(config, STEPS), loss=make_loss(config))
        rng = np.random.default_rng(0)
        shape = (trial.batch_size, trial.height, trial.width, 3)
        anchors = np.asarray(model.anchor_generator(trial.height, trial.width))
        matches = np.full((trial.batch_size, len(anchors)), BACKGROUND, np.int32)
        matches[:, :: max(1, len(anchors) // 100)] = 0  # some anchors have an object
        boxes = np.zeros((trial.batch_size, trial.max_objects, 4), np.float32)
        boxes[..., 2:] = min(trial.height, trial.width) / 4
        targets = {
            "gt_boxes": boxes,
            "gt_labels": np.zeros(boxes.shape[:2], np.int32),
            "matches": matches,
        }
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        batches = tf.data.Dataset.from_tensors((images, targets)).repeat()
        model.fit(batches, steps_per_epoch=STEPS, callbacks=[Times()], shuffle=False, verbose=0)
    except Exception as error:
        if not is_memory_error(error):
            raise
        return {"fits": False}
    return {"fits": True, "step_seconds": min(times[1:]), "peak_bytes": peak_memory()}


def main() -> None:
    """Run the trial that standard input describes."""
    result = run(Trial(**json.load(sys.stdin)))
    print(json.dumps(result))


def as_json(trial: Trial) -> str:
    return json.dumps(asdict(trial))


if __name__ == "__main__":
    main()
