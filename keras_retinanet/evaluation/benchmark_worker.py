"""The process that `benchmark` starts for each model: a request on stdin, results on stdout."""

import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_retinanet.data.source import load_dataset
from keras_retinanet.detection.detector import Detector
from keras_retinanet.detection.load_detector import load_detector
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.evaluate import evaluate
from keras_retinanet.system.environment import num_cores
from keras_retinanet.system.memory import peak_process_memory

WARMUP = 3


def main() -> None:
    request = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"results": measure(**request)}
    except UserError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


def measure(
    *,
    model: str,
    image_sizes: list[tuple[int, int]],
    batch_sizes: list[int],
    rounds: int,
    data: str | None,
    split: str,
) -> list[dict[str, Any]]:
    """Return the measurements of one model; see `benchmark.benchmark`."""
    detector = load_detector(model)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for (height, width), batch_size in itertools.product(image_sizes, batch_sizes):
            file = _picture(Path(folder, f"{height}x{width}.jpg"), height, width)
            results.append(
                {
                    "model": model,
                    "image_size": f"{height}x{width}",
                    "batch_size": batch_size,
                    **_times(detector, file, height, width, batch_size, rounds),
                    "peak_memory_mb": round(peak_process_memory() / 2**20),
                    "AP": None,
                }
            )
    if data is not None:
        ap = evaluate(detector, load_dataset(data, split))[0]["AP"]
        results = [{**result, "AP": ap} for result in results]
    return results


def _times(
    detector: Detector, file: str, height: int, width: int, batch_size: int, rounds: int
) -> dict[str, float]:
    count = (WARMUP + rounds) * batch_size
    found = detector.detect_files(
        [file] * count, np.full(count, height), np.full(count, width), batch_size=batch_size
    )
    wall, cpu = [], []
    for _ in range(WARMUP + rounds):
        for _ in itertools.islice(found, batch_size):
            pass
        wall.append(time.perf_counter())
        cpu.append(time.process_time())
    # The first time is that of the last batch that warms up.
    times = 1000 * np.diff(wall[WARMUP - 1 :])
    images_per_second = 1000 * batch_size / float(times.mean())
    return {
        "min_ms": round(float(times.min()), 2),
        "median_ms": round(float(np.median(times)), 2),
        "p95_ms": round(float(np.percentile(times, 95)), 2),
        "cpu_ms": round(1000 * float(np.diff(cpu[WARMUP - 1 :]).mean()), 2),
        "images_per_second": round(images_per_second, 2),
        "images_per_second_per_core": round(images_per_second / num_cores(), 2),
    }


def _picture(path: Path, height: int, width: int) -> str:
    noise = np.random.default_rng(0).integers(0, 256, (height // 16 + 1, width // 16 + 1, 3))
    Image.fromarray(noise.astype(np.uint8)).resize((width, height)).save(path, quality=90)
    return str(path)


if __name__ == "__main__":
    main()
