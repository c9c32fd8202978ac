"""Data sets made of numbers alone, and a machine that is always the same."""

import numpy as np
import pytest

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.training.planning.resources import Resources
from keras_retinanet.training.planning.starting_weights import StartingWeights
from keras_retinanet.training.planning.step_trial import StepTimes


@pytest.fixture(scope="session")
def make_dataset():
    """A data set whose images have one size, with square objects of given sides in a row."""

    def make(sides, *, num_images=10, height=480, width=640, labels=None, names=("a", "b", "c")):
        labels = np.zeros(len(sides), int) if labels is None else np.asarray(labels)
        lefts = np.linspace(0, max(0, width - max(sides)), len(sides))
        boxes = np.stack([lefts, np.zeros(len(sides)), lefts + sides, sides], axis=1)
        count = num_images * len(sides)
        return DetectionDataset(
            image_paths=[f"image-{i}.jpg" for i in range(num_images)],
            image_ids=list(range(num_images)),
            heights=np.full(num_images, height, np.int32),
            widths=np.full(num_images, width, np.int32),
            row_splits=np.arange(num_images + 1, dtype=np.int64) * len(sides),
            boxes=np.tile(boxes, (num_images, 1)).astype(np.float32),
            labels=np.tile(labels, num_images).astype(np.int32),
            is_ignored=np.zeros(count, bool),
            areas=np.tile(np.square(sides), num_images).astype(np.float32),
            class_names=tuple(names),
            category_ids=tuple(range(1, len(names) + 1)),
        )

    return make


@pytest.fixture(scope="session")
def make_resources():
    def make(*, gpus=(), capability=None, units=("avx2",), memory=8_000_000_000, pretrained=True):
        name = "efficientnet-lite0" if pretrained else None
        settings = {"model.backbone": "efficientnet_lite0", "model.weights": name or "none"}
        return Resources(
            processor="Some CPU",
            cores=2,
            memory=memory,
            gpus=gpus,
            capability=capability,
            units=units,
            weights=StartingWeights(name, settings, "what the test wants"),
        )

    return make


@pytest.fixture(scope="session")
def linear_times():
    """Times that are a straight line over the pixels of the network's input."""

    def make(per_step=0.05, per_pixel=4e-6, dataset=None):
        def time_steps(config):
            size, longest = config.image.size, config.image.max_size
            height, width = size, size
            if config.image.resize == "shorter_side":
                scale = size / min(dataset.heights[0], dataset.widths[0])
                sides = sorted((dataset.heights[0] * scale, dataset.widths[0] * scale))
                scale = min(1, longest / sides[1])
                height, width = (-(-int(side * scale) // 32) * 32 for side in sides)
            pixels = float(height * width)
            step = per_step + per_pixel * pixels
            return StepTimes(
                start=10.0, step=step, evaluated=step / 10, pixels=pixels, peak_bytes=10**9
            )

        return time_steps

    return make
