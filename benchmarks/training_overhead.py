"""What all callbacks of a training cost: `fit` with them against bare steps, taking turns.

Both use one model, one compiled step and one kind of batches, which are made once. Evaluation and
checkpoints are not part of it: what they cost is a matter of how often they come.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure

NUM_EPOCHS = 1000  # more than will be run
Times = tuple[float, float]  # wall and CPU seconds


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    import keras

    from keras_retinanet.data.pipeline.wait_time import WaitTime

    keras.utils.set_random_seed(0)
    model = build(options)
    batches = make_batches(options, model)
    wait = WaitTime()
    callbacks = make_callbacks(options, wait)
    candidates = {
        "fit": WithCallbacks(model, wait.measured(batches), callbacks, options.steps),
        "bare": lambda: bare_steps(model, batches, options.steps),
    }
    times = alternate_both_ways(candidates, options.rounds)
    result = results(times, options.steps)
    result["callbacks"] = [type(each).__name__ for each in callbacks]
    ratio = result["ratio"]
    print()
    print(
        f"{options.backbone}, {options.channels} channels, {options.size} px, batch "
        f"{options.batch_size}: a bare step {1000 * result['step_seconds']['bare']['median']:.1f} "
        f"ms; fit with {', '.join(result['callbacks'])}: ratio {ratio['median']:.3f} as median of "
        f"{options.rounds} pairs (min {ratio['min']:.3f}, max {ratio['max']:.3f}), of minima "
        f"{result['ratio_of_minima']:.3f}, of CPU time {result['cpu_ratio']['median']:.3f}"
    )
    measure.finish(result, options.json)


def build(options: argparse.Namespace) -> Any:
    from keras_retinanet import DetectionLoss, RetinaNet, SGDWithL2

    model = RetinaNet(
        options.backbone,
        80,
        weights=None,
        batchnorm="frozen",
        fpn_channels=options.channels,
        head_channels=options.channels,
    )
    model.compile(optimizer=SGDWithL2(1e-5, momentum=0.9, l2=1e-4), loss=DetectionLoss())
    return model


def make_batches(options: argparse.Namespace, model: Any) -> Any:
    """Return one batch again and again, prefetched as a training's are."""
    import numpy as np
    import tensorflow as tf

    size, batch_size = options.size, options.batch_size
    rng = np.random.default_rng(0)
    anchors = np.asarray(model.anchor_generator(size, size))
    box = np.float32([size / 4, size / 4, size / 2, size / 2])
    targets = {
        "gt_boxes": np.tile(box, (batch_size, 7, 1)),
        "gt_labels": np.zeros((batch_size, 7), np.int32),
        "matches": np.where(rng.random((batch_size, len(anchors))) < 0.01, 0, -1).astype(np.int32),
    }
    images = rng.integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
    return tf.data.Dataset.from_tensors((images, targets)).repeat().prefetch(2)


def make_callbacks(options: argparse.Namespace, wait: Any) -> list[Any]:
    """Return the callbacks of a training without checkpoints and evaluation."""
    from keras_retinanet import load_config
    from keras_retinanet.training.callbacks import StopOnNaN
    from keras_retinanet.training.progress import Progress
    from keras_retinanet.training.setup.run_callbacks import make_watchers

    folder = Path(tempfile.mkdtemp(prefix="training-overhead-"))
    overrides = [f"training.batch_size={options.batch_size}", "early_stopping.monitor=loss"]
    progress = Progress(num_epochs=NUM_EPOCHS, steps_per_epoch=options.steps)
    watchers = make_watchers(
        load_config("retinanet_r50_600", overrides),
        progress=progress,
        val_set=None,
        output=folder,
        is_live=True,
        wait=wait,
    )
    nan = StopOnNaN(progress=progress, images=lambda epoch, step: [], last_good=lambda: "")
    return [progress, nan, *watchers]


class WithCallbacks:
    """`fit` for an epoch, as a function without arguments."""

    def __init__(self, model: Any, batches: Any, callbacks: list[Any], steps: int) -> None:
        self._model, self._batches, self._callbacks = model, batches, callbacks
        self._steps = steps
        self._epoch = 0

    def __call__(self) -> Times:
        import keras

        begin: Times = (0.0, 0.0)
        end: Times = (0.0, 0.0)

        class Span(keras.callbacks.Callback):
            """The time of all steps but the first, which begins after what `fit` does once."""

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                nonlocal begin
                if batch == 0:
                    begin = now()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                nonlocal end
                end = now()

        self._model.fit(
            self._batches,
            initial_epoch=self._epoch,
            epochs=self._epoch + 1,
            steps_per_epoch=self._steps,
            callbacks=[*self._callbacks, Span()],
            shuffle=False,
            verbose=0,
        )
        self._epoch += 1
        return end[0] - begin[0], end[1] - begin[1]


def bare_steps(model: Any, batches: Any, steps: int) -> Times:
    iterator = iter(batches)
    model.train_function(iterator)
    begin = now()
    for _ in range(steps - 1):
        logs = model.train_function(iterator)
    float(logs["loss"])
    end = now()
    return end[0] - begin[0], end[1] - begin[1]


def now() -> Times:
    return time.perf_counter(), time.process_time()


def alternate_both_ways(
    candidates: dict[str, Callable[[], Times]], rounds: int
) -> dict[str, list[Times]]:
    """Return the times of each call; every other round begins with the other candidate."""
    for call in candidates.values():  # the first, `fit`, makes the step
        call()
    times: dict[str, list[Times]] = {name: [] for name in candidates}
    for number in range(rounds):
        names = list(candidates) if number % 2 else list(reversed(candidates))
        for name in names:
            times[name].append(candidates[name]())
    return times


def results(times: dict[str, list[Times]], steps: int) -> dict[str, Any]:
    pairs = list(zip(times["fit"], times["bare"], strict=True))
    seconds = {name: [wall for wall, _ in values] for name, values in times.items()}
    return {
        "step_seconds": {
            name: measure.spread([s / (steps - 1) for s in values])
            for name, values in seconds.items()
        },
        "ratio": measure.spread([fit[0] / bare[0] for fit, bare in pairs]),
        "ratio_of_minima": min(seconds["fit"]) / min(seconds["bare"]),
        "cpu_ratio": measure.spread([fit[1] / bare[1] for fit, bare in pairs]),
    }


if __name__ == "__main__":
    main()
