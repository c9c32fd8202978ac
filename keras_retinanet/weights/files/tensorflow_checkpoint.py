"""Reader of TensorFlow's checkpoints of objects: arrays of numbers by the objects' paths.

They are tables of arrays, read by TensorFlow's own reader; no object is made of them.
"""

from pathlib import Path

import numpy as np

from keras_retinanet.errors import WeightsError

_INDEX = ".index"
_DATA = ".data-"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# What an optimizer keeps of a variable, and what the optimizer itself keeps.
_SLOT = "/.OPTIMIZER_SLOT/"
_OPTIMIZER = "optimizer/"
_NUMBERS = "fiu"


def checkpoint_prefix(path: Path) -> Path | None:
    """Return what the names of a checkpoint's files begin with; None: it is no checkpoint.

    Args:
        path: the beginning, one of its files, or a folder with one checkpoint in it.
    """
    name = path.name
    for mark in (_INDEX, _DATA):
        if mark in name:
            path = path.with_name(name[: name.rindex(mark)])
            break
    if path.is_dir():
        found = sorted(path.glob(f"*{_INDEX}"))
        if len(found) > 1:
            raise WeightsError(
                f"it holds {len(found)} checkpoints: name one of them, such as "
                f"{found[-1].name.removesuffix(_INDEX)}"
            )
        return found[0].with_suffix("") if found else None
    return path if Path(f"{path}{_INDEX}").is_file() else None


def read_checkpoint(prefix: Path) -> dict[str, np.ndarray]:
    """Return the arrays but an optimizer's, by the paths of what they belong to.

    Raises:
        WeightsError: it is damaged, or states more than it holds.
    """
    import tensorflow as tf

    parts = (p for p in prefix.parent.iterdir() if p.name.startswith(f"{prefix.name}{_DATA}"))
    there = sum(part.stat().st_size for part in parts)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        dtypes = reader.get_variable_to_dtype_map()
        wanted = {
            name: shape
            for name, shape in reader.get_variable_to_shape_map().items()
            if name.endswith(_VALUE)
            and _SLOT not in name
            and not name.startswith(_OPTIMIZER)
            and dtypes[name].as_numpy_dtype is not object
            and np.dtype(dtypes[name].as_numpy_dtype).kind in _NUMBERS
        }
        stated = sum(
            int(np.prod(shape, dtype=object)) * dtypes[name].size for name, shape in wanted.items()
        )
        if stated > there:
            raise WeightsError(
                f"its arrays are stated as {stated:,} bytes, and its data have {there:,}: it is "
                "cut off or damaged"
            )
        return {
            name.removesuffix(_VALUE): np.asarray(reader.get_tensor(name))
            for name in sorted(wanted)
        }
    except WeightsError:
        raise
    except Exception as error:  # TensorFlow's own, of several kinds
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"a damaged checkpoint: {reason or type(error).__name__}") from error
