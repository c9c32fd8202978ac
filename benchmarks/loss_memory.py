"""Memory of the class loss, forward and backward, in tensors of the size of the class logits.

The batch is two images of 800 x 1088 with 80 classes: 163,206 anchors and 52 MB of logits each.
Each loss runs as a graph in a process of its own; its peak of resident memory beyond what was
resident before the step (the logits and the integer targets) is divided by the size of the logits.
The gradient that the step returns is one of the tensors counted, and a mask of booleans a quarter
of one. Linux only.

KerasHub 0.32 compiles its RetinaNet with Keras' BinaryFocalCrossentropy on one-hot targets: that is
what is measured under its name.

    python benchmarks/loss_memory.py
"""

import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import measure

HEIGHT, WIDTH, NUM_CLASSES, NUM_IMAGES = 800, 1088, 80, 2


def main() -> None:
    options = measure.parser(__doc__.splitlines()[0])
    options.add_argument("--only", choices=LOSSES, help="measure one loss in this process")
    arguments = options.parse_args()
    if arguments.only:
        print(peak(LOSSES[arguments.only]))
        return
    result = {}
    for name in LOSSES:
        command = [sys.executable, __file__, "--only", name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        result[name] = float(output.split()[-1])
        print(f"{name:28} {result[name]:5.2f} x the logits", flush=True)
    measure.finish({"logit_sized_tensors": result}, arguments.json)


def peak(make: Callable[[], Callable]) -> float:
    """Return the peak of memory of a step, in sizes of the logits."""
    import numpy as np
    import tensorflow as tf

    from keras_retinanet.geometry.anchors import AnchorGenerator

    num_anchors = sum(AnchorGenerator().num_anchors_per_level(HEIGHT, WIDTH))
    rng = np.random.default_rng(0)
    targets = np.where(rng.random((NUM_IMAGES, num_anchors)) < 1e-3, 7, -1).astype(np.int32)
    logits = tf.constant(rng.normal(-4, 1, (*targets.shape, NUM_CLASSES)).astype(np.float32))
    targets = tf.constant(targets)
    loss = make()

    @tf.function
    def step(targets: Any, logits: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(targets, logits)
        return tape.gradient(value, logits)

    step(targets, logits)
    gc.collect()
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")  # the peak starts again at what is resident now
    before = _status("VmRSS")
    gradient = step(targets, logits)
    return (_status("VmHWM") - before) / gradient.numpy().nbytes


def _status(field: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    with open("/proc/self/status") as lines:
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def _ours(name: str) -> Callable[[], Callable]:
    def make() -> Callable:
        from keras_retinanet import losses

        return getattr(losses, name)()

    return make


def _keras_hub() -> Callable:
    import keras

    focal = keras.losses.BinaryFocalCrossentropy(from_logits=True, reduction="sum")
    return lambda targets, logits: focal(keras.ops.one_hot(targets, NUM_CLASSES), logits)


LOSSES = {
    "FocalLoss": _ours("FocalLoss"),
    "BalancedCrossEntropy": _ours("BalancedCrossEntropy"),
    "FocalLossStar": _ours("FocalLossStar"),
    "HingeLoss": _ours("HingeLoss"),
    "SoftmaxFocalLoss": _ours("SoftmaxFocalLoss"),
    "KerasHub": _keras_hub,
}

if __name__ == "__main__":
    main()
