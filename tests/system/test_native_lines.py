"""Lines of C++ are dropped, unless the process crashes; Python's own lines are not."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keras_retinanet.system.native_lines import show_crash, without_native_lines

ROOT = Path(__file__).parents[2]
BEGIN = """
import os, sys
from keras_retinanet.system.native_lines import without_native_lines
with without_native_lines():
    os.write(2, b"I0000 00:00:17.1 1 a.cc:1] remark\\n")
    os.write(2, b"2026-01-31 23:59:59.9: W tensorflow/a.cc:2] remark\\n")
    os.write(2, b"F0000 00:00:17.1 1 a.cc:3] native\\n")
    print("of Python", file=sys.stderr)
"""


def run(code):
    """Run code in a process of its own; its stderr ends with the last process that has it."""
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_they_are_dropped_and_python_s_are_not():
    done = run("os.write(2, b'after\\n')")
    assert (done.returncode, done.stderr) == (0, "of Python\nafter\n")


def test_a_bug_has_its_traceback():
    done = run("    1 / 0")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[1].startswith("Traceback") and lines[-1] == "ZeroDivisionError: division by zero"
    assert "native" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_crash_shows_what_c_said_before_and_python_s_stack(number):
    done = run(f"    os.kill(os.getpid(), {int(number)})")
    assert done.returncode == -number
    shown = done.stderr.partition("of Python\n")[2]
    assert shown.startswith("F0000 00:00:17.1 1 a.cc:3] native\nFatal Python error: ")
    assert 'File "<string>", line 9' in shown and "remark" not in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_ended_shows_none(number):
    done = run(f"    os.kill(os.getpid(), {int(number)})")
    assert (done.returncode, done.stderr) == (-number, "of Python\n")


def test_a_process_that_leaves_at_once_shows_none():
    done = run("    os._exit(75)")
    assert (done.returncode, done.stderr) == (75, "of Python\n")


def test_processes_started_inside_are_silent_too_and_do_not_hold_up_the_end():
    done = run(
        "    import subprocess, time\n"
        "    subprocess.run(['sh', '-c', 'echo of a child >&2'])\n"
        "    subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)\n"
        "    begin = time.monotonic()\n"
        "assert time.monotonic() - begin < 20\n"
    )
    assert (done.returncode, done.stderr) == (0, "of Python\n")


def test_a_terminal_stays_one():
    main, terminal = os.openpty()
    code = "    print(sys.stderr.isatty(), sys.stderr.fileno() != 2, file=sys.stderr)"
    subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=terminal,
        check=True,
    )
    os.close(terminal)
    assert os.read(main, 1000).split(b"\r\n") == [b"of Python", b"True True", b""]
    os.close(main)


def test_in_a_process_with_another_stderr(capfd):
    before = sys.stderr
    with without_native_lines():
        os.write(2, b"E0000 native\n")
        print("of Python", file=sys.stderr)
        assert sys.stderr is before
    os.write(2, b"after\n")
    assert sorted(capfd.readouterr().err.splitlines()) == ["after", "of Python"]


def test_the_reader_keeps_few_lines_and_survives_what_is_no_text():
    said = b"".join(b"E0000 %d\n" % i for i in range(100_000)) + b"\xff\x00" * 50_000 + b"\n"
    crash = b"Fatal Python error: Aborted\n\nCurrent thread\n"
    for lines, expected in ((said, b""), (said + crash, crash)):
        shown = io.BytesIO()
        show_crash(io.BytesIO(lines), shown)
        assert shown.getvalue().endswith(expected)
        assert len(shown.getvalue()) < 500_000 and bool(shown.getvalue()) == bool(expected)
    assert b"E0000 99999\n" in shown.getvalue() and b"E0000 99000\n" not in shown.getvalue()
