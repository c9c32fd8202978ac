"""Callbacks of other packages by their classes' names: Weights & Biases, MLflow, one's own."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_retinanet.config.yaml_files import did_you_mean
from keras_retinanet.errors import ConfigError

# Where the package to install is not called as the one to import.
_PIP_NAMES = {"comet_ml": "comet-ml", "sklearn": "scikit-learn"}
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
    kind = _find(name)
    if not (isinstance(kind, type) and issubclass(kind, keras.callbacks.Callback)):
        raise ConfigError(f"{SETTING}: {name} is not a class of keras.callbacks.Callback's kind")
    try:
        return kind(**arguments)
    except Exception as error:  # whatever the other package raises: its own errors, TypeError, ...
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ConfigError(f"{SETTING}: {name}({given}) failed: {reason}") from error


def _find(name: str) -> Any:
    module_name, _, class_name = name.rpartition(".")
    package = module_name.split(".")[0]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = (error.name or package).split(".")[0]
        if error.name is not None and module_name.startswith(error.name) and missing != error.name:
            raise ConfigError(f"{SETTING}: {name}: there is no module {error.name}") from error
        raise ConfigError(
            f"{SETTING}: {name} needs the package {missing}, which is not installed: "
            f"pip install {_PIP_NAMES.get(missing, missing)}"
        ) from error
    except Exception as error:  # a package may do anything when it is imported
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ConfigError(f"{SETTING}: {module_name} cannot be imported: {reason}") from error
    if not hasattr(module, class_name):
        raise ConfigError(
            f"{SETTING}: {module_name} has no {class_name}: "
            f"{did_you_mean(class_name, [n for n in dir(module) if n[0].isupper()])}"
        )
    return getattr(module, class_name)
