"""Reading configs: YAML with `base:` and overrides, and what a run that goes on may change."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from keras_retinanet.config.schema import Config
from keras_retinanet.config.yaml_files import did_you_mean, read_yaml, validated
from keras_retinanet.errors import ConfigError
from keras_retinanet.system.buckets.bucket_address import place_in
from keras_retinanet.system.buckets.incoming import fetched

# The wheel holds the configs inside the package; a checkout beside it.
CONFIG_FOLDER = next(
    folder / "configs"
    for folder in (Path(__file__).parents[1], Path(__file__).parents[2])
    if (folder / "configs").is_dir()
)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Return the settings of a config file, with "key=value" overrides ("schedule.length=100").

    Args:
        path: a YAML file, or the name of one of the configs shipped with the package.

    Raises:
        ConfigError: a file cannot be read, or a setting is unknown or does not fit.
    """
    path = find_config(Path(path))
    values = _read_with_base(path, ())
    source = f"{path} with {' '.join(overrides)}" if overrides else str(path)
    return validated(Config, _merged(values, nested_overrides(overrides)), source)


def nested_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Return "key=value" overrides as a config file would state them.

    Raises:
        ConfigError: not of that form, or no setting has the name.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise ConfigError(f"{override!r} is not of the form key=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{override!r}: the value is not valid YAML") from error
        _check_key(key)
        values = _merged(values, _nested(key.split("."), value))
    return values


def dump_config(config: Config) -> str:
    """Return all settings as YAML; `load_config` reads it back to the same."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None)


# What a run that goes on may have otherwise: neither its model nor its data and their order.
CHANGEABLE = ("schedule.", "optimizer.learning_rate", "early_stopping.", "training.")
NOT_CHANGEABLE = (
    "schedule.unit",
    "training.batch_size",
    "training.seed",
    "training.repeat_threshold",
    "training.epoch_images",
    "training.file_shares",
)


def refuse_changes(before: Config, after: Config) -> list[str]:
    """Return the settings that differ, as "key: before -> after".

    Raises:
        ConfigError: one of them cannot change in the course of a run.
    """
    changes = []
    then, now = (config.model_dump(mode="json") for config in (before, after))
    for section, values in then.items():
        for name, value in values.items():
            key, other = f"{section}.{name}", now[section][name]
            if value == other:
                continue
            changes.append(f"{key}: {value} -> {other}")
            if key in NOT_CHANGEABLE or not key.startswith(CHANGEABLE):
                raise ConfigError(
                    f"a run cannot be resumed with another {key}: it was {value!r}, and {other!r} "
                    "is asked for; start a new run"
                )
    return changes


def find_config(path: Path) -> Path:
    """Return the file of a config: the path itself, or that of a shipped config of the name.

    Raises:
        ConfigError: there is neither.
    """
    path = fetched(path)
    if path.is_file():
        return path
    # "retinanet_r50_600", "configs/retinanet_r50_600.yaml": works without a checkout, too.
    shipped = CONFIG_FOLDER / path.with_suffix(".yaml").name
    if shipped.is_file():
        return shipped
    names = sorted(p.stem for p in CONFIG_FOLDER.glob("*.yaml"))
    raise ConfigError(f"there is no config {path}: {did_you_mean(path.stem, names)}")


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Return the values of a config file over those of its `base:`; `seen` led to this file."""
    if path.resolve() in seen:
        raise ConfigError(f"{path}: `base` leads back to the same file")
    values = read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    base_path = fetched(place_in(path.parent, str(base)))
    if not base_path.is_file():
        raise ConfigError(f"{path}: base: there is no file {base_path}")
    return _merged(_read_with_base(base_path, (*seen, path.resolve())), values)


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with the leaves in `changes` replaced."""
    merged = dict(values)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    return {keys[0]: _nested(keys[1:], value) if len(keys) > 1 else value}


def _check_key(key: str) -> None:
    """Refuse an override whose key is no setting, naming the nearest one."""
    known = [
        f"{section}.{name}" for section, values in Config().model_dump().items() for name in values
    ]
    if key not in known and key not in Config.model_fields:
        by_leaf = {full.split(".")[1]: full for full in known}
        guess = by_leaf.get(key.split(".")[-1])
        suggestion = f"did you mean {guess!r}?" if guess else did_you_mean(key, known)
        raise ConfigError(f"unknown setting {key!r}: {suggestion}")
