"""Loading a RetinaNet from a .keras file or a checkpoint, which says what is wrong with one."""

import re
from pathlib import Path

import keras

# Imported for what they register: a checkpoint names its loss, optimizer and schedule.
from keras_retinanet import losses  # noqa: F401
from keras_retinanet.errors import WeightsError
from keras_retinanet.models.checkpoint_files import SUFFIX, put_group, read_checkpoint
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.optimizers import schedules, weight_decay  # noqa: F401
from keras_retinanet.system.buckets.bucket_address import told
from keras_retinanet.system.buckets.incoming import fetched

# The name that Keras' optimizers give to it, in checkpoints.
_AVERAGE = re.compile(r"optimizer/.*_average")


def load_model(path: str | Path) -> RetinaNet:
    """Return the RetinaNet in a .keras file, or in a checkpoint, for use and not to go on from.

    Raises:
        WeightsError: there is no such file, it is damaged, or it holds another model.
        BucketError: it is in a bucket, and cannot be had.
    """
    path = fetched(path)
    if not path.is_file():
        raise WeightsError(f"there is no model file {told(str(path))}")
    if path.suffix == SUFFIX:
        return _from_checkpoint(path)
    if path.suffix != ".keras":
        raise WeightsError(f"{path} is not a .keras file, which training writes")
    try:
        model = keras.saving.load_model(path)
    except Exception as error:  # zip, JSON, HDF5 and Keras errors of every kind
        first_line = (str(error).strip() or repr(error)).splitlines()[0]
        raise WeightsError(f"{path} cannot be loaded as a model: {first_line}") from error
    if not isinstance(model, RetinaNet):
        raise WeightsError(f"{path} holds a {type(model).__name__} and not a RetinaNet")
    return model


def _from_checkpoint(path: Path) -> RetinaNet:
    checkpoint = read_checkpoint(path)
    model = RetinaNet.from_config(checkpoint.state["model"])
    put_group(checkpoint.arrays, "model", model.variables)
    # The moving average of the weights, if there is one, is what is evaluated and exported.
    averages = sorted(name for name in checkpoint.arrays if _AVERAGE.fullmatch(name))
    if averages:
        for variable, name in zip(model.trainable_variables, averages, strict=True):
            variable.assign(checkpoint.arrays[name])
    return model
