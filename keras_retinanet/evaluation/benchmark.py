"""Latency, throughput and memory of any model or export, each measured in a process of its own."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_retinanet.errors import UserError
from keras_retinanet.system.child_process import module_command

# The keys of a measurement that make its line in a table, with their headings.
COLUMNS = {
    "model": "model",
    "image_size": "image",
    "batch_size": "batch",
    "min_ms": "ms: min",
    "median_ms": "median",
    "p95_ms": "p95",
    "images_per_second": "images/s",
    "images_per_second_per_core": "a core",
    "peak_memory_mb": "peak MB",
    "AP": "AP",
}


def benchmark(
    models: Sequence[Path],
    *,
    image_sizes: Sequence[tuple[int, int]],
    batch_sizes: Sequence[int],
    rounds: int,
    data: Path | None = None,
    split: str = "val",
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Return a measurement for each model, image size (height, width) and batch size.

    Measured is the way from image files to detections, as `evaluate` and `predict` go it: the time
    from one batch's detections to the next one's, with files decoded in the background. Keys:
    those of COLUMNS and "cpu_ms", the processor time of all cores for a batch. Images a second and
    core are those of all cores divided by their number, whether the runtime uses them or not. Peak
    memory is that of the process up to the measurement, TensorFlow included; AP is there with
    `data`.

    Args:
        rounds: batches measured, after some that are not.

    Raises:
        UserError: a model cannot be loaded or run.
    """
    results = []
    for number, model in enumerate(models, 1):
        say(f"{number}: {model}")
        request = {
            "model": str(model),
            "image_sizes": list(image_sizes),
            "batch_sizes": list(batch_sizes),
            "rounds": rounds,
            "data": str(data) if data else None,
            "split": split,
        }
        results += _in_process(request)
    return results


def _in_process(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the worker: peak memory is a process's, and what one model has loaded stays loaded."""
    command, environment = module_command("keras_retinanet.evaluation.benchmark_worker")
    run = subprocess.run(
        command, input=json.dumps(request), capture_output=True, text=True, env=environment
    )
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        tail = (run.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{request['model']}: the measurement ended with {run.returncode}: {tail}")
    answer = json.loads(lines[-1])
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["results"]
