"""Faults that stop the reading of a data set: raised one at a time, or collected, all of them.

Readers and cleaning call `stop`. That raises, except within `collect_faults`, where the fault is
noted and the reading goes on without what is at fault: so training and `retinanet data check` read
through the same code. A context variable and not an argument, so that a reader needs nothing but
`stop`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keras_retinanet.data.dataset import Finding
from keras_retinanet.errors import DataError

if TYPE_CHECKING:
    from keras_retinanet.data.images.inspection import ImageHeader
    from keras_retinanet.data.raw_annotations import RawAnnotations

STOPS_TRAINING = "stops training"


@dataclass
class CollectedFaults:
    """What `collect_faults` collects.

    Attributes:
        findings: the faults that would have stopped the reading.
        raws: the annotations read, as they were before cleaning; of a mix, those of each source.
        on_read: called with the annotations before the images are looked at.
        on_image: called after each image.
        read_headers: takes the place of `inspect_images`, with its arguments.
    """

    findings: list[Finding] = field(default_factory=list)
    raws: list["RawAnnotations"] = field(default_factory=list)
    on_read: Callable[["RawAnnotations"], None] = lambda raw: None
    on_image: Callable[[], None] = lambda: None
    read_headers: Callable[..., list["ImageHeader"]] | None = None


_collected: ContextVar[CollectedFaults | None] = ContextVar("collected_faults", default=None)


def stop(problem: str, where: str, message: str) -> None:
    """Raise DataError(`message`); within `collect_faults`, note the fault and return.

    Args:
        problem: short and the same for all of its kind.
        where: file, line and place.
        message: the whole line that is raised, with `where` and how to mend it.
    """
    collected = _collected.get()
    if collected is None:
        raise DataError(message)
    collected.findings.append(Finding(problem, where, STOPS_TRAINING))


def is_collecting() -> bool:
    """Whether `stop` returns, so that it is worth looking for more."""
    return _collected.get() is not None


def note_raw(raw: "RawAnnotations") -> CollectedFaults:
    """Keep the annotations as they were read, if faults are collected; return what collects them,
    or what does nothing."""
    collected = _collected.get()
    if collected is None:
        return CollectedFaults()
    collected.raws.append(raw)
    collected.on_read(raw)
    return collected


@contextmanager
def collect_faults() -> Iterator[CollectedFaults]:
    """Within the context, faults that would stop the reading are collected."""
    collected = CollectedFaults()
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)
