"""Out of memory in training: one line that names the settings to lower."""

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from keras_retinanet.config.schema import Config
from keras_retinanet.errors import UserError

# What memory allocators say where TensorFlow has no error of its own for it.
_WORDS = ("out of memory", "failed to allocate", "resource_exhausted", "oom when allocating")


@contextmanager
def memory_errors(config: Config) -> Iterator[None]:
    """Turn running out of memory inside into a UserError; other errors pass."""
    try:
        yield
    except Exception as error:
        user_error = memory_error(error, config)
        if user_error is None:
            raise
        raise user_error from error


def memory_error(error: BaseException, config: Config) -> UserError | None:
    """Return the UserError for running out of memory; None for an error of another kind."""
    if not is_memory_error(error):
        return None
    batch_size, image = config.training.batch_size, config.image
    sizes = [f"image.size (now {image.size})"]
    if image.resize == "shorter_side":
        sizes.append(f"image.max_size (now {image.max_size})")
    if image.jitter_sizes:
        sizes.append(f"image.jitter_sizes (now up to {max(image.jitter_sizes)})")
    lower = [f"training.batch_size (now {batch_size})"] if batch_size > 1 else []
    message = f"out of memory: lower {' or '.join([*lower, *sizes])}"
    if batch_size > 1:
        message += "; retinanet find-batch tells the largest batch that fits"
    if config.training.cache == "memory" and isinstance(error, MemoryError):
        message += "; training.cache = memory holds all images: disk takes none"
    return UserError(message)


def is_memory_error(error: BaseException) -> bool:
    """Whether memory, of the device or of the process, ran out."""
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return True
    # XLA and cuDNN raise InternalError and others with these words in them.
    is_tensorflow = isinstance(error, tf.errors.OpError)
    return is_tensorflow and any(word in str(error).lower() for word in _WORDS)
