"""What the verbs share: the two consoles, tables, and a TensorFlow that starts in silence."""

import contextlib
import os
import sys
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
    crowd = int(dataset.is_ignored.sum())
    out.print(
        f"{split}: {len(dataset)} images, {dataset.num_boxes - crowd} objects of "
        f"{len(dataset.class_names)} classes" + (f", {crowd} ignored regions" if crowd else "")
    )
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


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Keep TensorFlow's start-up lines (missing CUDA, oneDNN) off the terminal.

    They are written by C++ before any log level is read, straight to file descriptor 2.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "--debug" in sys.argv:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow as tf

            # The search for devices prints, too. With several workers they are joined first.
            if "TF_CONFIG" not in os.environ:
                tf.config.list_logical_devices()
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
