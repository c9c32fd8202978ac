"""The process of the TFLite converter: what it is given and gives, and how it may end."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import tensorflow as tf

from keras_retinanet.errors import WeightsError
from keras_retinanet.export.export import export_model
from keras_retinanet.export.tflite import conversion
from keras_retinanet.export.tflite.conversion import Conversion, convert
from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter

SIDE = 4
PATIENCE = 60.0


def function_of(run, *shapes, dtype=tf.float32):
    specs = [tf.TensorSpec(shape, dtype) for shape in shapes]
    return tf.function(run, autograph=False).get_concrete_function(*specs)


def runner(file):
    interpreter = tf.lite.Interpreter(model_content=file)
    interpreter.allocate_tensors()
    return interpreter


def test_files_compute_what_the_functions_do(tmp_path):
    kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 3, 8)).astype(np.float32)
    first = function_of(
        lambda x: tf.nn.conv2d(x, tf.constant(kernel), 1, "SAME"), (1, SIDE, SIDE, 3)
    )
    second = function_of(lambda x, y: (x - y, x * y), (2,), (2,))
    files = convert([Conversion(first), Conversion(second)], tmp_path)
    assert list(tmp_path.iterdir()) == []
    network = runner(files[0])
    image = np.random.default_rng(0).normal(0, 1, (1, SIDE, SIDE, 3)).astype(np.float32)
    network.set_tensor(network.get_input_details()[0]["index"], image)
    network.invoke()
    found = network.get_tensor(network.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, first(tf.constant(image)), atol=1e-5)
    names = [each["name"] for each in runner(files[1]).get_output_details()]
    assert sorted(names) == ["Identity", "Identity_1"]


def test_values_from_outside_are_refused():
    outside = tf.random.stateless_normal((3,), (0, 0))
    with pytest.raises(WeightsError, match="values from outside it"):
        convert([Conversion(function_of(lambda x: x + outside, (3,)))])


def test_int8_takes_its_ranges_from_the_images():
    function = function_of(lambda x: x * tf.constant([1.0, 2.0, 4.0]), (1, SIDE, SIDE, 3))
    images = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (7, 90)]
    (file,) = convert([Conversion(function, "int8", "uint8", images)])
    (image,) = runner(file).get_input_details()
    assert image["dtype"] == np.uint8
    assert image["quantization"] == (1.0, 0)  # 0...255, although no image has these


def test_a_converter_that_fails_is_one_line(tmp_path, capfd):
    function = function_of(lambda x: tf.linalg.svd(x)[0], (SIDE, SIDE))
    with pytest.raises(WeightsError, match=r"the TFLite converter failed.*Svd") as caught:
        convert([Conversion(function)], tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def put_in_place(monkeypatch, tmp_path_factory):
    """A function: code -> the converter's process runs it, and `place` is its folder."""

    def put(code):
        folder = tmp_path_factory.mktemp("worker")
        (folder / "other_worker.py").write_text(
            "import os, signal, sys, time\nfrom pathlib import Path\nplace = Path(sys.argv[1])\n"
            + code
        )
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.setattr(conversion, "WORKER", "other_worker")

    return put


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL.*memory runs out"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV"),
        ("print('a dump'); sys.exit(3)", "ended with status 3"),
    ],
)
def test_a_process_that_ends_is_one_line(
    put_in_place, code, message, make_finder, tmp_path, capfd, small_resnet18
):
    put_in_place(code)
    with pytest.raises(WeightsError, match=message) as caught:
        export_model(make_finder("stretch"), tmp_path, TFLiteExporter())
    assert str(caught.value).startswith("the TFLite converter failed, nothing is published: its")
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


WAITS = (
    "(place / 'pid.tmp').write_text(str(os.getpid())); (place / 'pid.tmp').rename(place / 'pid')\n"
)
SLEEPS = WAITS + "time.sleep(600)"
ENDS_WITH_PARENT = (
    "from keras_retinanet.system.child_process import end_with_parent\n"
    + "end_with_parent()\n"
    + SLEEPS
)


def pid_in(folder):
    """Wait for the converter's process, and return its number."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for file in folder.glob(".tflite-*/pid"):
            return int(file.read_text())
        time.sleep(0.05)
    raise AssertionError("the process did not start")


def wait_until_gone(pid):
    deadline = time.monotonic() + PATIENCE
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the process goes on"
        time.sleep(0.05)


def test_ctrl_c_ends_it(put_in_place, tmp_path):
    put_in_place(SLEEPS)
    seen = []

    def interrupt():
        seen.append(pid_in(tmp_path))
        os.kill(os.getpid(), signal.SIGINT)

    # Where the tests run in the background of a shell, SIGINT is ignored from the start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            convert([Conversion(function_of(lambda x: x + 1.0, (1,)))], tmp_path)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert not psutil.pid_exists(seen[0])
    assert list(tmp_path.iterdir()) == []


PARENT = """
import sys
from pathlib import Path
import tensorflow as tf
from keras_retinanet.export.tflite import conversion
conversion.WORKER = "other_worker"
function = tf.function(lambda x: x + 1.0, autograph=False)
function = function.get_concrete_function(tf.TensorSpec((1,)))
conversion.convert([conversion.Conversion(function)], Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_it_ends_with_its_parent(put_in_place, tmp_path):
    put_in_place(ENDS_WITH_PARENT)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    try:
        pid = pid_in(tmp_path)
    finally:
        parent.kill()
        parent.wait()
    wait_until_gone(pid)
