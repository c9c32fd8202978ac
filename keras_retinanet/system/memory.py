"""Memory: what is free, what a process takes, and the most that a training has used."""

import resource
import sys

import psutil
import tensorflow as tf

# Linux counts a process' peak in kilobytes, macOS in bytes.
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


def free_memory() -> int:
    """Return the bytes that processes may still take; the system's file cache counts as free."""
    return psutil.virtual_memory().available


def process_memory(pid: int) -> int:
    """Return the bytes that a process has in memory; 0 when it has ended."""
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def peak_process_memory() -> int:
    """Return the most bytes that this process has had in memory.

    Asked of the system: psutil knows a peak on Windows alone.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT


def reset_peak_memory() -> None:
    """Begin anew on accelerators; a process' peak is that of its whole life."""
    for device in tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats(device.name)


def peak_memory() -> int:
    """Return the peak in bytes: of the fullest accelerator, or of this process without one."""
    devices = tf.config.list_logical_devices("GPU")
    if devices:
        return max(tf.config.experimental.get_memory_info(d.name)["peak"] for d in devices)
    return peak_process_memory()
