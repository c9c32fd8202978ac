"""Locks: one process at a time, until it ends."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from keras_retinanet.system.locks import file_lock

HOLDER = """
import sys, time
from pathlib import Path
from keras_retinanet.system.locks import file_lock

with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_ends_with_the_process_that_holds_it(tmp_path, kind):
    path = tmp_path / "place"
    if kind == "folder":
        path.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match="by another"), file_lock(path, wait=False):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with file_lock(path, wait=False):
        pass


def test_one_after_the_other(tmp_path):
    order = []

    def second():
        with file_lock(tmp_path):
            order.append("second")

    with file_lock(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_what_a_locked_file_holds_stays(tmp_path):
    path = tmp_path / "file"
    path.write_text("content")
    for _ in range(2):
        with file_lock(path):
            assert path.read_text() == "content"
            with pytest.raises(BlockingIOError), file_lock(path, wait=False):
                pass
    assert path.read_text() == "content"
