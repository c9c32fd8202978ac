"""Narrow batches, which TensorFlow trains wrongly in bfloat16 on a CPU."""

from collections.abc import Sequence

import numpy as np

from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.errors import ConfigError

# Where a bfloat16 map is one pixel wide, TensorFlow 2.21 (oneDNN 3.7.3, on AVX-512) leaves parts of
# the gradient of a 3x3 convolution of stride 2 unset: whatever lay in memory, 1e30 as well as NaN.
# P6, which P7's convolution runs over, is that narrow in inputs up to this width.
NARROW_WIDTH = 64


def refuse_narrow_batches(
    plan: TrainingPlan, image_paths: Sequence[str], *, num_epochs: int
) -> None:
    """Raise ConfigError if a batch of the training is at most NARROW_WIDTH pixels wide."""
    for epoch in range(num_epochs):
        widths = plan.epoch(epoch)["canvas_size"][:: plan.batch_size, 1]
        (steps,) = np.nonzero(widths <= NARROW_WIDTH)
        if len(steps):
            first = image_paths[plan.batch(epoch, steps[0])[0]]
            raise ConfigError(
                f"epoch {epoch + 1} has {len(steps)} batches of images scaled to {NARROW_WIDTH} px "
                f"of width or less (first: {first}), for which TensorFlow's bfloat16 gradients on "
                "a CPU are wrong: give model.precision=float32, a larger image.size, or leave "
                "such images out"
            )
