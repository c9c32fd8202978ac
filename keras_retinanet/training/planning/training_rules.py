"""The planner's rules for the training: length, batches, optimizer, what images are shown and how.

The constants are rules of thumb, with their source where there is one.
"""

from dataclasses import dataclass

import numpy as np

from keras_retinanet.data.checks.label_checks import count_objects
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.training.planning.decision import Decision
from keras_retinanet.training.planning.input_size import InputSize
from keras_retinanet.training.planning.resources import Resources

# Images in a step: small batches make more steps of the same time.
CPU_BATCH, GPU_BATCH = 4, 16
# AdamW's rate that `bccd_r18` was trained with, and for how many images.
LEARNING_RATE, LEARNING_RATE_BATCH = 0.001, 4
# Where each image comes again so often, it is changed more.
MANY_VIEWS = 40
# A class in so small a share of the images is shown more often (Gupta et al. 2019).
RARE_SHARE, FEW_CLASSES_FOR_REPEATS = 0.05, 3
# Share of the memory that decoded images may take.
CACHE_SHARE = 0.25


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Attributes:
        epochs, steps: of the whole training.
        epoch_images: images that an epoch shows; None: all.
        views: how often each image is shown.
        evaluations: on val.
        seconds: that steps, evaluations, start and end are expected to take.
    """

    epochs: int
    steps: int
    epoch_images: int | None
    views: float
    evaluations: int
    seconds: float


def augmentation(length: Length) -> list[Decision]:
    """Return how much images are changed: more, the more often each of them is shown."""
    often = f"each image is shown {length.views:.0f} times"
    if length.views > MANY_VIEWS:
        return [Decision("augment.preset", "default", f"{often}: sizes and colours are varied")]
    return [Decision("augment.preset", "paper", f"{often}: flips are enough")]


def schedule(length: Length, *, minutes: float, has_val: bool) -> list[Decision]:
    """Return length, warm-up and evaluations."""
    every = max(1, length.epochs // max(1, length.evaluations))
    why = f"{length.steps:,} steps, about {length.seconds / 60:.0f} of the {minutes:g} minutes"
    decisions = [
        Decision("schedule.unit", "epochs", "the length is told in passes through the images"),
        Decision("schedule.length", length.epochs, why),
        Decision("schedule.kind", "cosine", "it ends at a rate of zero, however short it is"),
        Decision(
            "schedule.warmup_iterations",
            min(100, max(1, length.steps // 20)),
            "a twentieth of the steps, at most 100",
        ),
        Decision("schedule.warmup_start", 0.1, "the warm-up begins at a tenth of the rate"),
    ]
    if length.epoch_images is not None:
        decisions.append(
            Decision(
                "training.epoch_images",
                length.epoch_images,
                "the time does not allow for all images several times: an epoch is a part of them",
            )
        )
    if has_val:
        told = f"{length.evaluations} evaluations, which take at most a tenth of the time or so"
        decisions.append(Decision("training.evaluate_every", every, told))
    return decisions


def optimizer(resources: Resources, batch_size: int) -> list[Decision]:
    """Return optimizer and batch."""
    device = "a GPU" if resources.gpus else "a processor"
    return [
        Decision("optimizer.name", "adamw", "gets further than SGD in few steps"),
        Decision("optimizer.learning_rate", LEARNING_RATE, "that of the config bccd_r18"),
        Decision(
            "optimizer.learning_rate_batch_size",
            LEARNING_RATE_BATCH,
            "the batch which that rate is for: others scale it",
        ),
        Decision("optimizer.weight_decay", 0.02, "that of the config bccd_r18"),
        Decision("optimizer.clip_norm", 10.0, "an odd batch cannot spoil the weights"),
        Decision("training.batch_size", batch_size, f"many small steps suit {device}"),
    ]


def batch_size_for(resources: Resources, num_images: int) -> int:
    size = GPU_BATCH * len(resources.gpus) if resources.gpus else CPU_BATCH
    return max(1, min(size, num_images))


def rare_classes(dataset: DetectionDataset) -> list[Decision]:
    """Return whether images with rare classes are shown more often."""
    counts = count_objects(dataset)
    if len(counts) < FEW_CLASSES_FOR_REPEATS:
        return []
    is_object = ~dataset.is_ignored
    image = np.repeat(np.arange(len(dataset)), np.diff(dataset.row_splits))[is_object]
    pairs = np.unique(np.stack([image, dataset.labels[is_object]]), axis=1)
    shares = np.bincount(pairs[1], minlength=len(dataset.class_names)) / len(dataset)
    shares = shares[shares > 0]
    rare = int((shares < RARE_SHARE).sum())
    if not rare or rare == len(shares):
        return []
    return [
        Decision(
            "training.repeat_threshold",
            RARE_SHARE,
            f"{rare} of {len(shares)} classes are in less than {RARE_SHARE:.0%} of the images: "
            "those images are shown more often",
        )
    ]


def cache(dataset: DetectionDataset, resources: Resources, size: InputSize) -> list[Decision]:
    """Return whether decoded images are kept."""
    heights, widths = dataset.heights.astype(np.int64), dataset.widths.astype(np.int64)
    needed = 3 * int((heights * widths).sum())
    told = f"decoded, all images take {needed / 1e9:.1f} GB"
    if needed <= CACHE_SHARE * resources.memory:
        return [Decision("training.cache", "memory", f"{told} of {resources.memory / 1e9:.0f}")]
    if size.tiling is not None:
        return [
            Decision(
                "training.cache", "disk", f"{told}; each would be decoded for each of its tiles"
            )
        ]
    return []
