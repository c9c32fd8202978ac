"""Images that went bad after they were checked: one line that names them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf

from keras_retinanet.data.images.inspection import inspect_images
from keras_retinanet.errors import DataError


@contextmanager
def reading_errors(
    likely: Callable[[], Sequence[str]], every: Sequence[str], *, remark: Callable[[], str]
) -> Iterator[None]:
    """Turn tf.data's failing to read an image inside into a DataError; other errors pass.

    TensorFlow tells what was wrong with the bytes, not whose they were.

    Args:
        likely: returns the images of the batch that failed; they are looked at first.
        every: all that are read inside, of which headers are looked at if those are good.
        remark: returns what the message says of the work that is done.
    """
    try:
        yield
    except tf.errors.OpError as error:
        bad = unreadable(likely(), decode=True) or unreadable(every, decode=False)
        if not bad:
            raise
        raise DataError(
            f"images that could be read before cannot be read any more: {'; '.join(bad[:3])}"
            f"{f' and {len(bad) - 3} more' if len(bad) > 3 else ''}: put them back; {remark()}"
        ) from error


def unreadable(paths: Sequence[str], *, decode: bool) -> list[str]:
    """Return a line for each file that cannot be read; `decode` also finds truncated ones."""
    headers = inspect_images(paths, decode=decode)
    return [f"{path}: {h.fault}" for path, h in zip(paths, headers) if h.fault]
