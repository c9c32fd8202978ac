"""The state of a training: taken from the model into a checkpoint, and put back bit for bit."""

import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_retinanet.errors import CheckpointError
from keras_retinanet.models.checkpoint_files import Checkpoint, put_group
from keras_retinanet.models.retinanet import RetinaNet, with_all_settings

FORMAT = 1  # of what checkpoints hold


def take_arrays(model: RetinaNet) -> dict[str, np.ndarray]:
    """Return copies of all that a step changes: weights, optimizer, metrics of the epoch so far.

    The optimizer's variables are its momenta, moving average of the weights, loss scale and
    iterations, which are the place in the learning-rate schedule; a moving average of positives
    is among the metrics. With several workers all have to call this at the same step.
    """
    arrays = {}
    for group, variables in _groups(model).items():
        for i, variable in enumerate(variables):
            values = keras.ops.convert_to_numpy(variable)
            # A copy: on a CPU the values may be those that the next step changes.
            arrays[f"{group}/{i:04d}/{_name(group, variable)}"] = np.array(values)
    return arrays


def put_arrays(model: RetinaNet, arrays: dict[str, np.ndarray], *, with_metrics: bool) -> None:
    """Give the model the arrays that `take_arrays` returned of one like it.

    Args:
        with_metrics: also the epoch's metrics, which `fit` sets back when it begins an epoch.

    Raises:
        CheckpointError: they are of another model or optimizer.
    """
    for group, variables in _groups(model).items():
        if group != "metrics" or with_metrics:
            put_group(arrays, group, variables)


def not_finite(arrays: dict[str, np.ndarray]) -> str | None:
    """Return the name of an array with NaN or infinity, or None."""
    for name, array in arrays.items():
        # The sum of finite numbers may overflow, but only then a look at each is needed.
        is_suspect = array.dtype.kind == "f" and not np.isfinite(np.sum(array))
        if is_suspect and not np.isfinite(array).all():
            return name
    return None


def describe_model(model: RetinaNet) -> dict[str, Any]:
    """Return the model's config as JSON holds it; two models are alike where these are equal."""
    return json.loads(json.dumps(model.get_config()))


def refuse_other_model(model: RetinaNet, checkpoint: Checkpoint) -> None:
    """Raise CheckpointError, showing the difference, if a checkpoint is of another model."""
    then, now = with_all_settings(checkpoint.state["model"]), describe_model(model)
    different = [
        f"{name} was {then.get(name)!r} and is {now.get(name)!r}"
        for name in dict.fromkeys([*then, *now])
        if then.get(name) != now.get(name)
    ]
    if different:
        raise CheckpointError(
            f"the run cannot be resumed with another model: {'; '.join(different)}; start a new one"
        )


def _name(group: str, variable: keras.Variable) -> str:
    # Keras numbers the optimizers of a process: adam_w, adam_w_1.
    return variable.path.partition("/")[2] if group == "optimizer" else variable.path


def _groups(model: RetinaNet) -> dict[str, Sequence[keras.Variable]]:
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    return {"model": model.variables, "optimizer": model.optimizer.variables, "metrics": metrics}
