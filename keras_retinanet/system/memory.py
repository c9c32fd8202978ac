"""The most memory that a training has used: the accelerator's, or the process' without one."""

import resource
import sys

import tensorflow as tf

# Linux counts in kilobytes, macOS in bytes.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def reset_peak_memory() -> None:
    """Begin anew on accelerators; a process' peak is that of its whole life."""
    for device in tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats(device.name)


def peak_memory() -> int:
    """Return bytes: of the fullest accelerator, or of this process."""
    devices = tf.config.list_logical_devices("GPU")
    if devices:
        return max(tf.config.experimental.get_memory_info(d.name)["peak"] for d in devices)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
