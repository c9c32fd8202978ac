"""What the verbs share: the two consoles, tables, log lines, and silence of what is beneath."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from keras_retinanet.cli.json_writer import write_json
from keras_retinanet.conventions import MAX_DETECTIONS
from keras_retinanet.errors import ConfigError, UserError
from keras_retinanet.system.buckets.bucket_address import address_of, told
from keras_retinanet.system.buckets.outgoing import drop_all, outgoing, send_all
from keras_retinanet.system.native_lines import without_native_lines
from keras_retinanet.system.shards.shard import Shard
from keras_retinanet.system.silence import quiet_loggers

EXIT_USER_ERROR = 2
# EX_TEMPFAIL of sysexits.h: call again with --resume. A scheduler can tell it from a failure.
EXIT_INTERRUPTED = 75


class _Console(Console):
    """Prints addresses as they were given, and not the local paths that stand for them."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(told(o) if isinstance(o, str) else o for o in objects), **options)


out = _Console(highlight=False, soft_wrap=True)
err = _Console(stderr=True, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def new_folder(wanted: Path | None, default: Path) -> Iterator[Path]:
    """Make the folder of a run; without a wish the first free of default-001, default-002, ...

    What is inside this context fills it; if it fails and has written nothing, no folder stays.
    """
    folder, made = _made_folder(wanted, default)
    try:
        yield folder
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):  # it holds something
                path.rmdir()
        raise


def _made_folder(wanted: Path | None, default: Path) -> tuple[Path, list[Path]]:
    """Return the folder, and what was made for it, the innermost first."""
    folder = default.with_name(f"{default.name}-001") if wanted is None else wanted
    if wanted is None:
        refuse_unwritable(default.parent)
    elif wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise ConfigError(f"--output {wanted} exists and is not empty: name a new folder")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    number = 1
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=wanted is not None)
            return folder, made
        except FileExistsError:
            number += 1
            folder = default.with_name(f"{default.name}-{number:03d}")
            made = [folder]


def writable(folder: Path, option: str = "") -> Path:
    """Return the folder to write into, see `outgoing`; raises as `refuse_unwritable`."""
    local = outgoing(folder, option=option)
    if address_of(local) is None:
        refuse_unwritable(local, option)
    return local


@contextlib.contextmanager
def results_sent() -> Iterator[None]:
    """What was written for buckets inside this context is sent at its end, if all went well."""
    try:
        yield
    except typer.Exit:  # an exit status, such as that of what was checked
        _send_results()
        raise
    else:
        _send_results()
    finally:
        drop_all()


def _send_results() -> None:
    try:
        send_all()
    except UserError:
        _results.clear()  # a verb that fails prints no JSON
        raise


def refuse_unwritable(folder: Path, option: str = "--output ") -> None:
    """Refuse a folder that cannot be made or written; nothing is made here.

    Args:
        option: names what it was given as, in messages.

    Raises:
        ConfigError: it is a file or lies below one, or what is above it may not be written.
    """
    # Not Path.exists, which raises an error below a folder that may not be read.
    place = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not place.is_dir():
        raise ConfigError(f"{option}{folder}: {place} is a file: name a folder")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise ConfigError(
            f"{option}{folder} cannot be written: {error.strerror}: name another folder"
        ) from error


_results: list[dict[str, Any]] = []


def tell(result: dict[str, Any]) -> None:
    """Give what --json prints."""
    _results.append(result)


def lines_to_stderr(is_json: bool) -> bool:
    """With --json, leave the standard output to the result: all other lines go to stderr."""
    if is_json:
        sys.stdout = sys.stderr
    return is_json


@contextlib.contextmanager
def results_as_json() -> Iterator[None]:
    """Inside this context --json is obeyed: its result is printed at the end, however that is."""
    _results.clear()
    stdout = sys.stdout
    try:
        yield
    finally:
        is_json = sys.stdout is not stdout
        sys.stdout = stdout
        for result in _results if is_json else ():
            write_json(result, stdout)
            stdout.write("\n")


def describe(split: str, dataset: Any, *, max_detections: int = MAX_DETECTIONS) -> None:
    from keras_retinanet.data.crowded_images import told_of_crowded_images

    ignored = int(dataset.is_ignored.sum())
    parts = [
        counted(len(dataset), "image"),
        f"{counted(dataset.num_boxes - ignored, 'object')} of "
        f"{counted(len(dataset.class_names), 'class')}",
        *([counted(ignored, "ignored region")] if ignored else []),
    ]
    out.print(f"{split}: {', '.join(parts)}")
    print_findings(dataset.findings)
    crowded = told_of_crowded_images(dataset, max_detections=max_detections)
    if crowded is not None:
        err.print(f"  [yellow]{crowded}[/]")


def described_dataset(data: str, split: str, *, max_detections: int = MAX_DETECTIONS) -> Any:
    """Load a split of a data set, and print what is in it.

    Args:
        max_detections: of an image, those that an evaluation will count.
    """
    dataset = usable_dataset(data, split)
    describe(split, dataset, max_detections=max_detections)
    return dataset


def usable_dataset(data: str | Path, split: str, *, decode_images: bool = True) -> Any:
    """Load a split of a data set; one that has no objects, or lost most of them, is refused."""
    from keras_retinanet.data.lost_labels import refuse_lost_labels
    from keras_retinanet.data.source import load_dataset

    dataset = load_dataset(data, split, decode_images=decode_images)
    refuse_lost_labels(dataset, f"{data}: {split}")
    return dataset


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
        noun += "es" if noun.endswith(("s", "x")) else "s"
    return f"{number} {noun}"


def print_shard(shard: Shard, part: Path, num_images: int, done: str) -> None:
    """Say what a process did of its share of the work."""
    told = f"{counted(num_images, 'image')} {done}" if num_images else "nothing was left to do"
    out.print(f"part {shard.index}/{shard.count}: {told}: {plain(str(part))}")


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
    before = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.propagate = False  # absl gives the root logger a handler, which would print it again
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep off the terminal what TensorFlow and others say, by whichever way they say it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with without_native_lines(), quiet_loggers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of others: this package's are logged
        yield
