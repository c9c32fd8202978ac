"""Shared by the benchmarks: alternating timings, runs of `retinanet`, the machine, the output."""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# What decides how fast float32, int8 and bfloat16 are, by Linux' names.
UNITS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--json", action="store_true", help="print one JSON object at the end")
    return result


def alternate(
    candidates: dict[str, Callable[[], Any]], *, rounds: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Return the seconds of each call; the candidates take turns, so that drift hits all alike."""
    for _ in range(warmup):
        for call in candidates.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: list[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def command_line(*arguments: object) -> float:
    """Run `retinanet` in a process of its own; return the seconds it took."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "keras_retinanet.cli", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def evaluations(run: Path) -> list[dict[str, str]]:
    """Return the rows of a run's metrics that have an AP; none, if it has not come that far."""
    if not (run / "metrics.csv").is_file():
        return []
    with open(run / "metrics.csv", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row.get("AP")]


def train_once(run: Path, *arguments: object) -> None:
    """Train into `run`: go on with one that was cut off, and leave one that was evaluated alone."""
    if evaluations(run):
        return
    if (run / "run.json").is_file():
        command_line("train", "--resume", run)
    else:
        command_line("train", *arguments, "--output", run)


def finish(result: dict[str, Any], as_json: bool) -> None:
    """Print the machine, and with `as_json` everything as one JSON object on the last line."""
    machine = {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "units": [unit for unit in UNITS if unit in _cpuinfo("flags").split()],
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    units = ", ".join(machine["units"]) or "units unknown"
    print(
        f"machine: {machine['cpu']} ({units}), {machine['cores']} cores, Python {machine['python']}"
    )
    if as_json:
        print(json.dumps({**result, "machine": machine}))


def _cpuinfo(key: str) -> str:
    """Return what Linux says of the first processor; "" elsewhere."""
    try:
        with open("/proc/cpuinfo") as lines:
            found = (line.split(":", 1)[1] for line in lines if line.startswith(key))
            return next(found, "").strip()
    except OSError:
        return ""
