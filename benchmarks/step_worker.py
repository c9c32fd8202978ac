"""A process that makes training steps when asked to: what the workers of train_step.py share."""

import argparse
import resource
from collections.abc import Callable
from typing import Any

import numpy as np
import processes


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
    """Make steps when asked, as `processes.serve` does.

    Args:
        step: makes a training step, waits for it, and returns its loss.
        facts: what else is to be told at the end.
        memory: the device's peaks in bytes; {} on a CPU, where the process' own is taken.
    """
    losses: list[float] = []

    def all_facts() -> dict[str, Any]:
        own = {"process_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
        return {"losses": losses[:3], **(memory() or own), **facts()}

    processes.serve(lambda: losses.append(step()), all_facts, warmup=warmup)
