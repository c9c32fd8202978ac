"""What the verbs share: the two consoles, tables, log lines, and silence of what is beneath."""

import contextlib
import faulthandler
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from keras_retinanet.errors import ConfigError

EXIT_USER_ERROR = 2
# EX_TEMPFAIL of sysexits.h: call again with --resume. A scheduler can tell it from a failure.
EXIT_INTERRUPTED = 75

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def new_folder(wanted: Path | None, default: Path) -> Path:
    """Make and return the folder of a run; without a wish the first free of default-001, ..."""
    if wanted is None:
        number = 1
        while True:
            folder = default.with_name(f"{default.name}-{number:03d}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                number += 1
    if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise ConfigError(f"--output {wanted} exists and is not empty: name a new folder")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted


def describe(split: str, dataset: Any) -> None:
    ignored = int(dataset.is_ignored.sum())
    parts = [
        counted(len(dataset), "image"),
        f"{counted(dataset.num_boxes - ignored, 'object')} of "
        f"{counted(len(dataset.class_names), 'class')}",
        *([counted(ignored, "ignored region")] if ignored else []),
    ]
    out.print(f"{split}: {', '.join(parts)}")
    print_findings(dataset.findings)


def print_findings(findings: list) -> None:
    from keras_retinanet.data.dataset import summarize

    for line in summarize(findings):
        err.print(f"  [yellow]{plain(line)}[/]")


def print_metrics(metrics: dict[str, Any]) -> None:
    figures = {name: value for name, value in metrics.items() if name != "per_class"}
    for title, values in (("COCO metrics", figures), ("AP per class", metrics["per_class"])):
        table = Table("", "", title=title, show_header=False)
        for name, value in values.items():
            table.add_row(plain(name), "n/a" if value is None else f"{value:.3f}")
        out.print(table)


def plain(text: str) -> str:
    """Keep rich from reading square brackets in file names and values as markup."""
    return text.replace("[", "\\[")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 image", "2 images", "2 classes"."""
    if number != 1:
        noun += "es" if noun.endswith("s") else "s"
    return f"{number} {noun}"


class LogLines(logging.Handler):
    """Prints what the package logs: warnings on stderr, the rest on stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        text = plain(record.getMessage())
        if record.levelno >= logging.WARNING:
            err.print(f"[yellow]warning:[/] {text}")
        else:
            out.print(text)


@contextlib.contextmanager
def logged_lines(*, debug: bool) -> Iterator[None]:
    """Inside this context, what `keras_retinanet` logs is printed."""
    logger, handler = logging.getLogger("keras_retinanet"), LogLines()
    before = logger.level
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextlib.contextmanager
def without_native_lines() -> Iterator[None]:
    """Keep the lines of TensorFlow, XLA, oneDNN and CUDA off the terminal.

    C++ writes them straight to file descriptor 2, some before any log level is read. Python's
    `sys.stderr` goes on, through a copy of the descriptor; so do tracebacks of crashes.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.stderr.flush()
    shown = os.dup(2)
    before = sys.stderr
    if _writes_to_descriptor_2(before):
        sys.stderr = os.fdopen(os.dup(shown), "w", buffering=1, errors="backslashreplace")
    tells_of_crashes = not faulthandler.is_enabled()
    if tells_of_crashes:
        faulthandler.enable(file=shown)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other packages: ours are logged
            yield
    finally:
        if sys.stderr is not before:
            sys.stderr.close()
        sys.stderr = before
        os.dup2(shown, 2)
        if tells_of_crashes:
            faulthandler.disable()
        os.close(shown)


def _writes_to_descriptor_2(stream: Any) -> bool:
    try:
        return stream.fileno() == 2
    except (AttributeError, OSError, ValueError):  # a test's, or a notebook's
        return False
