"""A process that makes training steps when asked to: what the workers of train_step.py share.

Each configuration has processes of its own: running out of memory ends one of them, peaks of memory
are its own, and two of them can take turns though their libraries do not go together.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

MARK = "@@"  # before each line that is for train_step.py: libraries print lines of their own


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone")
    parser.add_argument("--height", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--classes", type=int)
    parser.add_argument("--precision")
    parser.add_argument("--compile", default="auto")
    parser.add_argument("--import-first")
    return parser.parse_args()


def random_batch(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return uint8 images [B, H, W, 3], boxes [B, 7, 4] and labels [B, 7]: 7 objects as in COCO."""
    rng = np.random.default_rng(0)
    height, width, count = options.height, options.width, options.batch_size
    images = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    corners = rng.uniform(0, 0.7, (count, 7, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.05, 0.3, corners.shape)], axis=2)
    boxes = (boxes * (width, height, width, height)).astype(np.float32)
    return images, boxes, rng.integers(0, options.classes, (count, 7), dtype=np.int32)


def serve(
    step: Callable[[], float],
    facts: Callable[[], dict[str, Any]],
    memory: Callable[[], dict[str, int]],
    *,
    warmup: int = 2,
) -> None:
    """Warm up, then answer each line of standard input with a step's times, and its end with facts.

    Args:
        step: makes a training step, waits for it, and returns its loss.
        facts: what else is to be told at the end.
        memory: the device's peaks in bytes; {} on a CPU, where the process' own is taken.
    """
    start = time.perf_counter()
    losses = [step() for _ in range(warmup)]
    _say({"warmup_seconds": time.perf_counter() - start})
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        losses.append(step())
        _say({"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu})
    peak = memory() or {"process_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    _say({"losses": losses[:3], **peak, **facts()})


def _say(answer: dict[str, Any]) -> None:
    print(MARK + json.dumps(answer), flush=True)
