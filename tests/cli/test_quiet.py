"""Nothing but the command line's own lines: neither TensorFlow's nor a notebook's traces."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keras_retinanet.cli.console import counted, logged_lines, without_native_lines
from keras_retinanet.data.demo.demo import write_demo_dataset

PACKAGE = Path(__file__).parents[2] / "keras_retinanet"
FOREIGN = re.compile(
    r"^[EWIF]\d{4} |oneDNN|cuda|XLA|TF-TRT|absl|WARNING: All log|Traceback", re.MULTILINE
)
TINY = (
    "model.fpn_channels=8",
    "model.head_channels=8",
    "model.head_depth=1",
    "image.size=64",
    "schedule.length=1",
    "training.batch_size=4",
    "inference.score_threshold=0.001",
)
MAIN = "import sys; sys.argv[0] = 'retinanet'; from keras_retinanet.cli import main; main()"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=8, num_val=4)


def retinanet(*arguments):
    """Run a verb in a process of its own, as a notebook's shell starts it."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")},
        "MPLBACKEND": "module://a_backend_that_is_not_installed",
        "PYTHONPATH": str(PACKAGE.parent),
    }
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert not FOREIGN.search(done.stdout + done.stderr), done.stdout + done.stderr
    return done


def test_check_with_plots(data, tmp_path):
    done = retinanet("data", "check", "--data", data, "--output", tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert list(tmp_path.glob("*.png"))
    assert "images read" in done.stdout


def test_version():
    done = retinanet("--version")
    assert re.fullmatch(r"keras_retinanet \d+\.\d+\.\d+\n", done.stdout) and not done.returncode


@pytest.mark.slow
def test_all_verbs(data, tmp_path):
    run, images = tmp_path / "run", data.parent / "images" / "val"
    verbs = [
        ("data", "demo", tmp_path / "demo", "--num-train", 2, "--num-val", 1),
        ("data", "show", "--data", data, "--output", tmp_path / "show"),
        ("data", "convert", "--data", data, "--to", "voc", "--output", tmp_path / "voc"),
        ("config", "quickstart"),
        ("anchors", "quickstart", "--data", data),
        ("train", "quickstart", "--data", data, "--output", run, *TINY),
        ("evaluate", run, "--data", data),
        ("predict", run, images, "--output", tmp_path / "predictions"),
        ("export", run, "--output", tmp_path / "export", "--verify-images", images),
        ("export", run, "--output", tmp_path / "edge", "--format", "tflite", "--input-size", 64),
        ("benchmark", run, "--image-size", "64x64", "--rounds", 2),
        ("find-lr", "quickstart", "--data", data, "--output", tmp_path / "lr", *TINY),
        ("find-batch", "quickstart", "--data", data, "--largest", 2, *TINY),
        ("reproduce", "figure-1", "--output", tmp_path / "figure"),
    ]
    for verb in verbs:
        done = retinanet(*verb)
        assert done.returncode == 0, (verb, done.stderr)


def test_native_lines_are_dropped_and_python_s_are_not(capfd):
    with without_native_lines():
        os.write(2, b"E0000 native\n")
        print("of Python", file=sys.stderr)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "of Python\nafter\n"


def test_what_the_package_logs_is_printed(capsys):
    logger = logging.getLogger("keras_retinanet.anywhere")
    with logged_lines(debug=False):
        logger.debug("nothing")
        logger.info("going on [from] here")
        logger.warning("low recall")
    logger.warning("after")
    printed = capsys.readouterr()
    assert printed.out == "going on [from] here\n"
    assert printed.err.startswith("warning: low recall\n")


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [(1, "image", "1 image"), (2, "class", "2 classes"), (0, "finding", "0 findings")],
)
def test_singular_and_plural(number, noun, expected):
    assert counted(number, noun) == expected


def test_no_module_draws_by_pyplot():
    for path in PACKAGE.rglob("*.py"):
        assert "pyplot" not in path.read_text().replace("Not pyplot", ""), path
