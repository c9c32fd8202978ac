"""Memory: of the machine, of a process and at its peak."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from keras_retinanet.system.memory import (
    free_memory,
    peak_memory,
    peak_process_memory,
    process_memory,
)

MEGABYTE = 2**20


def test_free_memory_is_a_part_of_the_machines():
    assert MEGABYTE < free_memory() < psutil.virtual_memory().total


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux")
def test_free_memory_is_what_linux_calls_available():
    line = next(x for x in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in x)
    # Others take and give back memory between the two looks.
    assert free_memory() == pytest.approx(1024 * int(line.split()[1]), rel=0.1)


# In a process of its own: of one that holds gigabytes, the system takes idle pages back meanwhile.
GROWING = f"""
import os
import numpy as np
from keras_retinanet.system.memory import peak_process_memory, process_memory
before = process_memory(os.getpid())
block = np.ones({200 * MEGABYTE}, np.uint8)
after = process_memory(os.getpid())
print(before, after, peak_process_memory(), block.any())
"""


def test_memory_of_a_process_grows_with_what_it_holds():
    run = subprocess.run(
        [sys.executable, "-c", GROWING], capture_output=True, text=True, check=True
    )
    before, after, peak, is_held = run.stdout.split()
    assert 180 * MEGABYTE < int(after) - int(before) < 300 * MEGABYTE
    assert int(peak) >= int(after) - MEGABYTE
    assert is_held == "True"


def test_a_process_that_has_ended_has_none():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert process_memory(process.pid) == 0


def test_the_peak_stays_when_memory_is_given_back():
    block = np.ones(100 * MEGABYTE, np.uint8)
    peak = peak_process_memory()
    assert peak > block.nbytes
    del block
    assert peak_process_memory() >= peak
    assert peak_memory() >= MEGABYTE
