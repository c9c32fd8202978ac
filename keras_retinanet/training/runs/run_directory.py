"""Run directories: what a run was started with, that one process alone writes, and whether it is
done."""

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from keras_retinanet.errors import (
    CheckpointError,
    ConfigError,
    TrainingDiverged,
    TrainingInterrupted,
)
from keras_retinanet.system.atomic_files import remove_unfinished, write_whole
from keras_retinanet.system.buckets.outgoing import claimed_in_bucket
from keras_retinanet.system.locks import file_lock

RUN_FILE = "run.json"
LOCK_FILE = "run.lock"
CONFIG_FILE = "config.yaml"
# Why the config is as it is, where it was planned: there before the run begins.
PLAN_FILE = "plan.yaml"
CHECKPOINTS, METRICS_FILE = "checkpoints", "metrics.csv"
BEST_MODEL_FILE = "best.keras"
# What that model found in the validation split, as COCO results.
BEST_DETECTIONS_FILE = "best_detections.json"


@dataclass(frozen=True)
class Run:
    """What resuming needs to know beside the config.

    Attributes:
        data: --data, with an absolute path if it is one; None for runs started from Python.
        train_images: fingerprint of the training images and objects.
        is_finished: nothing is left to do.
    """

    data: str | None
    train_images: str
    is_finished: bool = False


def write_run(folder: Path, run: Run, *, config: str | None = None) -> None:
    """Write run.json and, if it is given, config.yaml."""
    write_whole(folder / RUN_FILE, json.dumps(asdict(run), indent=1))
    if config is not None:
        write_whole(folder / CONFIG_FILE, config)


@contextlib.contextmanager
def claimed(folder: Path, *, resume: bool) -> Iterator[None]:
    """Make a run directory, unless it is there, and keep it to this process.

    A new run that fails before it has saved anything leaves nothing behind; one that was stopped,
    or that diverged, does. One in a bucket is sent there, whatever ends it.

    Raises:
        ConfigError: another process has it, or a new run is to be written into a used one.
        BucketError: its bucket cannot be written.
    """
    if not resume:
        refuse_used(folder)
    # A checkpoint comes after all that belongs to its step.
    with claimed_in_bucket(folder, last=(f"*{CHECKPOINTS}/*",)), _made(folder, resume=resume):
        yield


@contextlib.contextmanager
def _made(folder: Path, *, resume: bool) -> Iterator[None]:
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    has_failed = False
    try:
        with locked(folder):
            try:
                yield
            except BaseException as error:
                has_failed = not resume and not _is_worth_keeping(folder, error)
                raise
    finally:
        if has_failed:
            _remove(folder, is_new=is_new)


def _is_worth_keeping(folder: Path, error: BaseException) -> bool:
    """Whether there is something of a run that has failed to go on with, or to look at."""
    if isinstance(error, TrainingInterrupted | TrainingDiverged | CheckpointError):
        return bool(_contents(folder))
    return any((folder / name).exists() for name in (CHECKPOINTS, METRICS_FILE))


def _remove(folder: Path, *, is_new: bool) -> None:
    """Remove what a run has put into a folder that was empty, and the folder if it was new."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if is_new:
        with contextlib.suppress(OSError):  # a file of it is still open
            folder.rmdir()


def refuse_used(folder: Path) -> None:
    """Raise ConfigError if a new run cannot be written into a folder: it holds something."""
    if folder.exists() and (not folder.is_dir() or _contents(folder)):
        raise ConfigError(f"{folder} exists and is not empty: name a new folder")


def _contents(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name not in (LOCK_FILE, PLAN_FILE)]


def is_run(folder: Path) -> bool:
    """Whether a folder is a run directory."""
    return (folder / RUN_FILE).is_file() and (folder / CONFIG_FILE).is_file()


def read_run(folder: Path) -> Run:
    """Return what a run was started with.

    Raises:
        ConfigError: the folder holds no run.
    """
    if not is_run(folder):
        raise ConfigError(
            f"{folder} holds no run to resume: expected {RUN_FILE} and {CONFIG_FILE} in it"
        )
    try:
        return Run(**json.loads((folder / RUN_FILE).read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{folder / RUN_FILE} cannot be read: {error}") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a run directory to this process; the lock ends with the process, however it ends.

    Raises:
        ConfigError: another process has it.
    """
    path = folder / LOCK_FILE
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(file_lock(path, wait=False))
        except BlockingIOError as error:
            owner = path.read_text().strip() or "another process"
            raise ConfigError(
                f"{folder} is being written by {owner}: wait for it, stop it, or name another "
                "folder"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be locked ({error.strerror or error}): name a folder that can be "
                "written, on a file system with locks"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        remove_unfinished(folder)
        yield
