"""The largest batch that fits: doubling, then bisection, each try in a process of its own."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_retinanet.config.schema import Config
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.errors import UserError
from keras_retinanet.system.memory import process_memory
from keras_retinanet.training.finders.batch_trial import Trial, as_json
from keras_retinanet.training.setup.model_and_loss import make_input_policy
from keras_retinanet.training.setup.prepare import without_other_weights

# Seconds between two looks at a process' memory.
LOOK_EVERY = 0.02


@dataclass(frozen=True)
class Try:
    """What came of a batch size."""

    batch_size: int
    fits: bool
    step_seconds: float | None = None
    peak_bytes: int | None = None
    reason: str = ""


def search_largest(
    attempt: Callable[[int], Try], *, step: int, largest: int
) -> tuple[int | None, list[Try]]:
    """Return the largest batch size that fits, None if not even `step` does, and all tries.

    Args:
        step: sizes are multiples of it (devices times `training.accumulate`).
        largest: the search goes no further.
    """
    tries: list[Try] = []

    def fits(size: int) -> bool:
        tries.append(attempt(size))
        return tries[-1].fits

    most = largest // step  # in units of `step` from here on
    if most < 1:
        raise UserError(
            f"the largest batch to try is {largest}, and batches are multiples of {step}: the "
            "devices times training.accumulate"
        )
    good, bad = 0, 1
    while bad <= most and fits(bad * step):
        good, bad = bad, min(2 * bad, most) if bad < most else most + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        if fits(middle * step):
            good = middle
        else:
            bad = middle
    return (good * step or None), tries


def try_batch_size(trial: Trial, memory_limit: int | None) -> Try:
    """Run a trial in a process, which is ended when it takes more than `memory_limit` bytes.

    Raises:
        UserError: the trial failed for another reason than memory.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_retinanet.training.finders.batch_trial"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    is_over = threading.Event()
    watcher = threading.Thread(target=_end_at, args=(process, memory_limit, is_over), daemon=True)
    if memory_limit is not None:
        watcher.start()
    output, errors = process.communicate(as_json(trial))
    size = trial.batch_size
    if memory_limit is not None and is_over.is_set():
        return Try(size, False, reason=f"more than {memory_limit / 1e9:.1f} GB")
    if process.returncode < 0:  # the system ends a process that takes too much
        return Try(size, False, reason=f"ended by signal {-process.returncode}")
    if process.returncode:
        reason = (errors.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"a training step with batch size {size} failed: {reason}")
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    if not result["fits"]:
        return Try(size, False, reason="out of memory")
    return Try(size, True, result["step_seconds"], result["peak_bytes"])


def make_trial(config: Config, dataset: DetectionDataset, batch_size: int) -> Trial:
    """Return the trial of a batch size at the largest canvas that a batch can have."""
    height, width = largest_canvas(config, dataset)
    values = without_other_weights(config).model_dump(mode="json")
    values["training"]["batch_size"] = batch_size
    if values["model"]["batchnorm"] == "auto" and values["model"]["weights"] != "none":
        values["model"]["batchnorm"] = "frozen"
    values["model"] |= {"weights": "none", "init_from": None}  # any values take the same room
    return Trial(
        config=values,
        batch_size=batch_size,
        height=height,
        width=width,
        num_classes=len(dataset.class_names),
        max_objects=max(1, int(dataset.num_objects.max(initial=0))),
    )


def largest_canvas(config: Config, dataset: DetectionDataset) -> tuple[int, int]:
    """Return the height and width of a batch that has the tallest and the widest image.

    The last batches of an epoch may hold both orientations.
    """
    policy = make_input_policy(config)
    size = max(config.image.jitter_sizes, default=None)
    scaled = policy.scaled_size(dataset.heights, dataset.widths, size)
    canvas = [np.asarray(side) for side in policy.canvas_size(*scaled)]
    return int(canvas[0].max()), int(canvas[1].max())


def _end_at(process: subprocess.Popen, limit: int, is_over: threading.Event) -> None:
    while process.poll() is None:
        if process_memory(process.pid) > limit:
            is_over.set()
            process.kill()
            return
        time.sleep(LOOK_EVERY)
