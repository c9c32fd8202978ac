"""What all callbacks of a training cost: `fit` with them against bare steps, taking turns.

Both use one model, one compiled step and one kind of batches, which are made once. Evaluation and
checkpoints are not part of it: what they cost is a matter of how often they come.
"""

import statistics
import tempfile
import time
from pathlib import Path

import measure


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
    import numpy as np
    import tensorflow as tf
    from keras_retinanet.training.callbacks.build import make_watchers

    from keras_retinanet import DetectionLoss, RetinaNet, SGDWithL2, load_config
    from keras_retinanet.data.pipeline.wait_time import WaitTime
    from keras_retinanet.training.callbacks import StopOnNaN

    size, batch_size, steps = options.size, options.batch_size, options.steps
    channels = options.channels
    keras.utils.set_random_seed(0)
    model = RetinaNet(
        options.backbone,
        80,
        weights=None,
        batchnorm="frozen",
        fpn_channels=channels,
        head_channels=channels,
    )
    model.compile(optimizer=SGDWithL2(1e-5, momentum=0.9, l2=1e-4), loss=DetectionLoss())
    rng = np.random.default_rng(0)
    anchors = np.asarray(model.anchor_generator(size, size))
    targets = {
        "gt_boxes": np.tile(np.float32([[size / 4, size / 4, size / 2, size / 2]]), (2, 7, 1)),
        "gt_labels": np.zeros((batch_size, 7), np.int32),
        "matches": np.where(rng.random((batch_size, len(anchors))) < 0.01, 0, -1).astype(np.int32),
    }
    targets["gt_boxes"] = np.resize(targets["gt_boxes"], (batch_size, 7, 4))
    images = rng.integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
    # Prefetched, as a training's are.
    batches = tf.data.Dataset.from_tensors((images, targets)).repeat().prefetch(2)
    wait = WaitTime()
    measured = wait.measured(batches)

    class Span(keras.callbacks.Callback):
        """The time of all steps but the first, which begins after what `fit` does once."""

        def on_train_batch_end(self, batch, logs=None):
            if batch == 0:
                self.begin = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.begin[0]
            self.cpu = time.process_time() - self.begin[1]

    folder = Path(tempfile.mkdtemp(prefix="training-overhead-"))
    num_epochs = 1000
    config = load_config(
        "retinanet_r50_600", [f"training.batch_size={batch_size}", "early_stopping.monitor=loss"]
    )
    watchers = make_watchers(
        config,
        val_set=None,
        output=folder,
        num_epochs=num_epochs,
        steps_per_epoch=steps,
        is_live=True,
        wait=wait,
    )
    nan = StopOnNaN(lambda epoch, step: [], folder)
    epoch = 0

    def with_callbacks() -> tuple[float, float]:
        nonlocal epoch
        span = Span()
        model.fit(
            measured,
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=steps,
            callbacks=[nan, *watchers, span],
            shuffle=False,
            verbose=0,
        )
        epoch += 1
        return span.seconds, span.cpu

    def bare() -> tuple[float, float]:
        iterator = iter(batches)
        model.train_function(iterator)
        begin = time.perf_counter(), time.process_time()
        for _ in range(steps - 1):
            logs = model.train_function(iterator)
        float(logs["loss"])
        return time.perf_counter() - begin[0], time.process_time() - begin[1]

    with_callbacks()  # makes the step
    bare()
    seconds = {"fit": [], "bare": []}
    cpu = {"fit": [], "bare": []}
    for number in range(options.rounds):
        candidates = [("fit", with_callbacks), ("bare", bare)]
        for name, call in candidates if number % 2 else reversed(candidates):
            took = call()
            seconds[name].append(took[0])
            cpu[name].append(took[1])
    ratios = [a / b for a, b in zip(seconds["fit"], seconds["bare"], strict=True)]
    cpu_ratios = [a / b for a, b in zip(cpu["fit"], cpu["bare"], strict=True)]
    result = {
        "step_seconds": {
            n: measure.spread([v / (steps - 1) for v in s]) for n, s in seconds.items()
        },
        "ratio": measure.spread(ratios),
        "ratio_of_minima": min(seconds["fit"]) / min(seconds["bare"]),
        "cpu_ratio": measure.spread(cpu_ratios),
        "callbacks": [type(c).__name__ for c in (nan, *watchers)],
    }
    print()
    print(
        f"{options.backbone}, {channels} channels, {size} px, batch {batch_size}: a bare step "
        f"{1000 * statistics.median(seconds['bare']) / (steps - 1):.1f} ms; fit with "
        f"{', '.join(result['callbacks'])}: ratio {result['ratio']['median']:.3f} as median of "
        f"{options.rounds} pairs (min {min(ratios):.3f}, max {max(ratios):.3f}), of minima "
        f"{result['ratio_of_minima']:.3f}, of CPU time {result['cpu_ratio']['median']:.3f}"
    )
    measure.finish(result, options.json)


if __name__ == "__main__":
    main()
