"""Nothing that is printed inside reaches the terminal, and everything after it does."""

import logging
import os
import subprocess
import sys
import warnings

import pytest
import tensorflow as tf

from keras_retinanet.system.silence import silence


def shout():
    print("python, out")
    print("python, err", file=sys.stderr)
    os.write(1, b"descriptor 1\n")
    os.write(2, b"descriptor 2\n")
    warnings.warn("a warning", stacklevel=1)
    tf.get_logger().warning("a logger")


LINES = {"python, out", "python, err", "descriptor 1", "descriptor 2"}


def test_holds_and_ends(capfd, caplog):
    caplog.set_level(logging.DEBUG, logger="keras_retinanet")
    print("before")
    with silence("it"):
        shout()
    print("after")
    os.write(2, b"after\n")
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("before\nafter\n", "after\n")
    (record,) = [r for r in caplog.records if r.name.startswith("keras_retinanet")]
    assert record.levelno == logging.DEBUG
    assert record.getMessage().startswith("it printed:\n")
    assert set(record.getMessage().splitlines()[1:]) >= LINES


def test_ends_with_an_error(capfd):
    with pytest.raises(ZeroDivisionError), silence("it"):
        shout()
        raise ZeroDivisionError
    print("after")
    os.write(2, b"after\n")
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("after\n", "after\n")


def test_inside_another(capfd, caplog):
    caplog.set_level(logging.DEBUG, logger="keras_retinanet")
    with silence("outer"):
        with silence("inner"):
            print("a")
        print("b")
    assert capfd.readouterr() == ("", "")
    assert [r.getMessage() for r in caplog.records] == [
        "inner printed:\na",
        "outer printed:\nb",
    ]


def test_without_a_word_logs_nothing(caplog):
    caplog.set_level(logging.DEBUG)
    with silence("it"):
        pass
    assert caplog.records == []


def test_leaves_no_descriptor_open():
    before = os.listdir("/proc/self/fd")
    with silence("it"):
        pass
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_waits_in_a_pipes_buffer_keeps_its_place():
    """A pipe's `print` waits in Python until it is flushed."""
    script = (
        "import os\nfrom keras_retinanet.system.silence import silence\n"
        "print('before')\nwith silence('it'):\n    print('in')\n    os.write(1, b'in too')\n"
        "print('after')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "before\nafter\n", done.stderr
