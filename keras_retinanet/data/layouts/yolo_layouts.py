"""Folders of data sets in YOLO's format."""

from pathlib import Path

from keras_retinanet.config.yaml_files import read_yaml
from keras_retinanet.data.layouts.places import Settings
from keras_retinanet.errors import ConfigError

YAML_SUFFIXES = (".yaml", ".yml")


def yolo_layout(folder: Path) -> Settings | None:
    """A YAML file with names, and train or val."""
    found = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in YAML_SUFFIXES):
        settings = yolo_settings(path.name, read_yaml(path))
        if settings:
            found[path.name] = settings
    if len(found) > 1 and "data.yaml" not in found:
        raise ConfigError(f"{folder} holds {', '.join(found)}: name the one to use")
    return found.get("data.yaml") or next(iter(found.values()), None)


def yolo_settings(name: str, values: Settings) -> Settings | None:
    splits = {key: key for key in ("train", "val", "test") if values.get(key)}
    if "format" in values or "names" not in values or not splits:
        return None
    return {"format": "yolo", "data_yaml": name, "splits": splits}
