"""Nothing but the command line's own lines: neither TensorFlow's nor a notebook's traces."""

import ast
import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from keras_retinanet.cli.console import counted, logged_lines, quiet_libraries
from keras_retinanet.data.demo.demo import write_demo_dataset

PACKAGE = Path(__file__).parents[2] / "keras_retinanet"
FOREIGN = re.compile(
    r"^[EWIF]\d{4} |oneDNN|cuda|XLA|TF-TRT|absl|WARNING: All log|tensorflow/|Traceback",
    re.MULTILINE,
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
IMPORTS = (ast.Import, ast.ImportFrom)
MAIN = "import sys; sys.argv[0] = 'retinanet'; from keras_retinanet.cli import main; main()"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_demo_dataset(tmp_path_factory.mktemp("demo") / "set", num_train=8, num_val=4)


def retinanet(*arguments, backend="module://a_backend_that_is_not_installed"):
    """Run a verb in a process of its own, as a notebook's shell starts it."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")},
        "MPLBACKEND": backend,
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


@pytest.mark.slow  # one such backend is tried by every other test here
@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense", ""])
def test_no_backend_of_matplotlib_is_inherited(backend, tmp_path):
    done = retinanet("reproduce", "figure-1", "--output", tmp_path / "out", backend=backend)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "figure-1.png").stat().st_size > 10_000


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
        ("find-batch", "quickstart", "--data", data, "--largest", 2, *TINY),
        ("reproduce", "figure-1", "--output", tmp_path / "figure"),
    ]
    for verb in verbs:
        done = retinanet(*verb)
        assert done.returncode == 0, (verb, done.stderr)


def test_what_the_package_logs_is_printed_once(capsys, request):
    logger = logging.getLogger("keras_retinanet.anywhere")
    of_root = logging.StreamHandler(sys.stderr)  # absl adds one with its first line
    logging.root.addHandler(of_root)
    request.addfinalizer(lambda: logging.root.removeHandler(of_root))
    with logged_lines(debug=False):
        logger.debug("nothing")
        logger.info("going on [from] here")
        logger.warning("low recall")
    logger.warning("after")
    printed = capsys.readouterr()
    assert printed.out == "going on [from] here\n"
    assert printed.err == "warning: low recall\nafter\n"


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [(1, "image", "1 image"), (2, "class", "2 classes"), (0, "box", "0 boxes")],
)
def test_singular_and_plural(number, noun, expected):
    assert counted(number, noun) == expected


def test_no_module_draws_by_pyplot():
    """It reads the environment's backend, and opens windows."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, IMPORTS) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any("pyplot" in name for name in names), path


def test_what_other_packages_log_and_warn_of_is_not_printed(capfd):
    with quiet_libraries():
        logging.getLogger("absl").warning("of absl")
        logging.getLogger("tensorflow").info("of TensorFlow")
        warnings.warn("of a package", UserWarning, stacklevel=1)
        logging.getLogger("absl").error("an error of absl")
    assert capfd.readouterr().err.strip() in ("", "an error of absl")
