"""Shared by the benchmarks: alternating timings, the machine's description, and the output."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
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
