"""What this machine and environment have that a detector can use, without starting TensorFlow."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from keras_retinanet.system.distribution import DISTRIBUTION, clash_warning

# Of the package's own dependencies, those whose versions matter in a report of a fault.
REQUIRED = ("tensorflow", "keras", "numpy", "pycocotools", "Pillow", "pydantic")
# What brings more: the distribution, and what for.
OPTIONAL = {
    "ai-edge-litert": "TFLite files",
    "tf2onnx": "export to ONNX",
    "onnxruntime": "ONNX files",
    "openvino": "export to OpenVINO, and its files",
    "nncf": "int8 for OpenVINO",
    "tensorflow-datasets": "data sets of TensorFlow Datasets",
    "fsspec": "data and runs in buckets",
    "av": "videos",
    "opencv-python-headless": "cameras",
}
# As Linux calls them; each speeds up a precision.
UNITS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
LITTLE_DISK_GB = 5


@dataclass(frozen=True)
class Fact:
    """A line of the report; `warning` says what to do where something is not as it should be."""

    name: str
    value: str
    warning: str | None = None


def describe_environment(folder: Path) -> list[Fact]:
    """Return the facts; `folder` is where the disk is looked at."""
    facts = [
        Fact("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        *_packages(),
        *_processor(),
        _disk(folder),
    ]
    clash = clash_warning()
    if clash is not None:
        facts.append(Fact("distributions", "two share one package name", clash))
    return facts


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> list[Fact]:
    facts = []
    for name in (DISTRIBUTION, *REQUIRED):
        version = _version(name)
        missing = None if version else f"{name} is missing: pip install {name}"
        facts.append(Fact(name, version or "missing", missing))
    for name, purpose in OPTIONAL.items():
        facts.append(
            Fact(name, _version(name) or f"not installed; for {purpose}: pip install {name}")
        )
    return facts


def _processor() -> list[Fact]:
    units = processor_units()
    memory = psutil.virtual_memory()
    return [
        Fact("processor", processor_name()),
        Fact("cores", str(num_cores())),
        Fact("vector and matrix units", ", ".join(units) or "not known"),
        Fact("memory", f"{memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} GB free"),
    ]


def processor_name() -> str:
    """Return the processor's name, as the system tells it."""
    return _cpuinfo("model name") or platform.processor() or "not known"


def processor_units() -> list[str]:
    """Return which of UNITS the processor has; none where the system does not say."""
    flags = set(_cpuinfo("flags").split())
    return [unit for unit in UNITS if unit in flags]


def num_cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def describe_processor() -> dict[str, Any]:
    """Return what the speed of a model depends on: the processor, its units and its cores."""
    return {
        "processor": processor_name(),
        "units": processor_units(),
        "cores": num_cores(),
    }


def _cpuinfo(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _disk(folder: Path) -> Fact:
    free = shutil.disk_usage(folder).free / 1e9
    warning = None
    if free < LITTLE_DISK_GB:
        warning = f"less than {LITTLE_DISK_GB} GB: checkpoints and exports may not fit"
    return Fact("disk", f"{free:.1f} GB free in {folder}", warning)
