"""Converters that others wrote: kept off the terminal, and one line where they fail."""

import contextlib
import re
from collections.abc import Iterator

from keras_retinanet.errors import UserError, WeightsError
from keras_retinanet.system.silence import silence

# MLIR's: "/some/file.py:11:1: error: 'tf.Conv2D' op is neither a custom op nor a flex op".
_MLIR_ERROR = re.compile(r"\berror: (?:loc\(.*\): )?(.+)")
# These announce what failed, and do not say it.
_HEADINGS = re.compile(r"Traceback|Detected at node|Graph execution error|\s+File ")


@contextlib.contextmanager
def converting(what: str) -> Iterator[None]:
    """Run a converter: silent as in `silence`, and failing as in `one_line_errors`."""
    with one_line_errors(what), silence(what):
        yield


@contextlib.contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """Raise whatever is raised inside as a WeightsError of one line that names `what` failed.

    Errors that are meant for the user already pass as they are.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise WeightsError(
            f"{what} failed, nothing is published: {summary(error)} (--debug shows all of it)"
        ) from error


def summary(error: Exception) -> str:
    """Return the first line of an error's text that says something, or the error's name."""
    lines = [line.strip() for line in str(error).splitlines() if not _HEADINGS.match(line)]
    for line in lines:
        if found := _MLIR_ERROR.search(line):
            return found[1]
    return next((line for line in lines if line), type(error).__name__)
