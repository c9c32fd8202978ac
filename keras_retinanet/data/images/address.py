"""Where the bytes of an image are: a file of its own, or a range of bytes in a larger file.

A data set stored in records keeps its images there: the "path" of such an image is an address
`shard.tfrecord@OFFSET+LENGTH/NAME`. It reads like a file in a folder, and NAME is what a person
sees; whatever reads images by path reads them through this module. A file whose content is still
in a bucket alone is read from there.
"""

import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from keras_retinanet.conventions import Tensor
from keras_retinanet.errors import DataError
from keras_retinanet.system.buckets.incoming import contents, is_elsewhere
from keras_retinanet.system.buckets.remote_files import AT_ONCE

_ADDRESS = re.compile(r"(.+)@(\d+)\+(\d+)/([^/]+)", re.DOTALL)


def image_address(file: str | os.PathLike, offset: int, length: int, name: str) -> str:
    """Return the path that stands for `length` bytes of `file` from `offset` on.

    Only the last part of `name` is kept, whichever slashes it has.
    """
    base = re.split(r"[/\\]", name.replace("\0", ""))[-1] or "image"
    return f"{os.fspath(file)}@{offset}+{length}/{base}"


def is_address(path: str) -> bool:
    """Return whether a path stands for a range of bytes."""
    return _address(path) is not None


def is_in_file(path: str) -> bool:
    """Return whether a path stands for a range of bytes of a file that is there."""
    return is_address(path) and os.path.isfile(file_of(path))


def image_name(path: str) -> str:
    """Return the file name of an image, wherever its bytes are."""
    return PurePath(path).name


def file_of(path: str) -> str:
    """Return the file that an image's bytes are in."""
    address = _address(path)
    return address[1] if address else path


def open_image(path: str) -> BinaryIO:
    """Open an image for reading; use it in place of `open` where a path comes from a data set.

    Raises:
        OSError: there is no such file.
        DataError: the file ends before the range of bytes does.
        BucketError: it is in a bucket, and cannot be read.
    """
    address = _address(path)
    if not address:
        return io.BytesIO(contents(path)) if is_elsewhere(path) else open(path, "rb")
    image_bytes = _range(address[1], int(address[2]), int(address[3]))
    if len(image_bytes) != int(address[3]):
        raise DataError(f"{path}: the file ends before the image: was it written anew?")
    return io.BytesIO(image_bytes)


def _range(file: str, offset: int, length: int) -> bytes:
    if is_elsewhere(file):
        return contents(file, offset, length)
    with open(file, "rb") as opened:
        opened.seek(offset)
        return opened.read(length)


def read_image_bytes(path: str) -> bytes:
    """Return the bytes of an image file; raises as `open_image`."""
    with open_image(path) as file:
        return file.read()


def num_image_bytes(path: str) -> int:
    """Return the size of an image file.

    Raises:
        OSError: there is no such file.
    """
    address = _address(path)
    return int(address[3]) if address else os.path.getsize(path)


def _address(path: str) -> re.Match[str] | None:
    """Return the parts of an address; None of a path, in which "@1+2" may be a folder's name."""
    match = _ADDRESS.fullmatch(path)
    return None if match is None or os.path.isdir(f"{match[1]}@{match[2]}+{match[3]}") else match


def num_readers(paths: Sequence[str]) -> int:
    """Return how many threads read images best: one a core; more where they wait for a bucket."""
    num_cores = os.cpu_count() or 1
    return max(num_cores, AT_ONCE) if any(map(is_elsewhere, map(file_of, paths))) else num_cores


def reading_options(paths: Sequence[str]) -> tf.data.Options:
    """Return what a stream of images needs: of some in a bucket, many are asked for at once."""
    options = tf.data.Options()
    if num_readers(paths) > (os.cpu_count() or 1):
        options.threading.private_threadpool_size = AT_ONCE
        options.autotune.cpu_budget = AT_ONCE
    return options


def image_reader(paths: Sequence[str]) -> Callable[[Tensor], Tensor]:
    """Return a graph function from one of `paths` to the bytes of its image.

    Files are read by TensorFlow; a Python function takes its place only where one is in a bucket,
    or a path is an address: no op of TensorFlow's reads a range of bytes at a bearable price.
    """
    if not any(is_address(path) or is_elsewhere(path) for path in paths):
        return tf.io.read_file

    def read_one(path: bytes | np.ndarray) -> bytes:
        # Eagerly, an array of no dimension comes.
        return read_image_bytes(np.asarray(path).item().decode())

    def read(path: Tensor) -> Tensor:
        image_bytes = tf.numpy_function(read_one, [path], tf.string)
        image_bytes.set_shape(())
        return image_bytes

    return read
