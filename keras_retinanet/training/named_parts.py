"""Parts of one's own, named in a config as "package.module.name": losses and backbones."""

import importlib
from typing import Any

import keras

from keras_retinanet.config.yaml_files import did_you_mean
from keras_retinanet.errors import ConfigError

# Where the package to install is not called as the one to import.
_PIP_NAMES = {"comet_ml": "comet-ml", "sklearn": "scikit-learn"}


def is_dotted(name: str) -> bool:
    """Whether a setting names a part of one's own."""
    return "." in name


def own_loss(name: str, setting: str) -> keras.losses.Loss:
    """Return the loss of a class of one's own, made without arguments.

    Raises:
        ConfigError: it cannot be had, or is no `keras.losses.Loss`.
    """
    loss = _called(name, setting)
    if not isinstance(loss, keras.losses.Loss):
        raise ConfigError(f"{setting}: {name} is no class of keras.losses.Loss's kind")
    return loss


def own_backbone(name: str) -> Any:
    """Return `name` if it is that of a backbone here, else what the function of the name returns.

    Raises:
        ConfigError: it cannot be had; RetinaNet refuses a model that does not fit.
    """
    return _called(name, "model.backbone") if is_dotted(name) else name


def _called(name: str, setting: str) -> Any:
    make = find_by_name(name, setting)
    try:
        return make()
    except Exception as error:  # whatever the user's code raises
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ConfigError(f"{setting}: {name}() failed: {reason}") from error


def find_by_name(name: str, setting: str) -> Any:
    """Return what "package.module.name" stands for.

    Raises:
        ConfigError: a package is missing, or there is no such name; `setting` is named.
    """
    module_name, _, class_name = name.rpartition(".")
    package = module_name.split(".")[0]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = (error.name or package).split(".")[0]
        if error.name is not None and module_name.startswith(error.name) and missing != error.name:
            raise ConfigError(f"{setting}: {name}: there is no module {error.name}") from error
        raise ConfigError(
            f"{setting}: {name} needs the package {missing}, which is not installed: "
            f"pip install {_PIP_NAMES.get(missing, missing)}"
        ) from error
    except Exception as error:  # a package may do anything when it is imported
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ConfigError(f"{setting}: {module_name} cannot be imported: {reason}") from error
    if not hasattr(module, class_name):
        raise ConfigError(
            f"{setting}: {module_name} has no {class_name}: "
            f"{did_you_mean(class_name, [n for n in dir(module) if not n.startswith('_')])}"
        )
    return getattr(module, class_name)
