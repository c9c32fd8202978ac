"""Callbacks of other packages by their classes' names: Weights & Biases, MLflow, one's own."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_retinanet.errors import ConfigError
from keras_retinanet.training.named_parts import find_by_name

SETTING = "training.callbacks"


def callbacks_by_name(
    entries: Sequence[str | Mapping[str, Any]],
) -> list[keras.callbacks.Callback]:
    """Return the callbacks that "package.module.Class" or {name: ..., argument: ...} stand for.

    Raises:
        ConfigError: a package is missing, there is no such class, it is no Keras callback, or it
            does not take the arguments.
    """
    return [_make(entry) for entry in entries]


def _make(entry: str | Mapping[str, Any]) -> keras.callbacks.Callback:
    arguments = {"name": entry} if isinstance(entry, str) else dict(entry)
    name = arguments.pop("name")
    kind = find_by_name(name, SETTING)
    if not (isinstance(kind, type) and issubclass(kind, keras.callbacks.Callback)):
        raise ConfigError(f"{SETTING}: {name} is not a class of keras.callbacks.Callback's kind")
    try:
        return kind(**arguments)
    except Exception as error:  # whatever the other package raises: its own errors, TypeError, ...
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ConfigError(f"{SETTING}: {name}({given}) failed: {reason}") from error
