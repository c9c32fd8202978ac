"""Which format the data set in a folder has: its settings, as a data YAML would hold them."""

import logging
from collections.abc import Callable
from pathlib import Path

from keras_retinanet.config.yaml_files import read_yaml
from keras_retinanet.data.layouts.coco_layouts import coco_layout, json_settings
from keras_retinanet.data.layouts.csv_layouts import csv_file, csv_layout, open_images_layout
from keras_retinanet.data.layouts.image_folders import base_of
from keras_retinanet.data.layouts.kitti_layouts import kitti_layout
from keras_retinanet.data.layouts.places import Settings, as_yaml
from keras_retinanet.data.layouts.record_layouts import tfrecord_layout
from keras_retinanet.data.layouts.refusals import refuse_file, refuse_folder
from keras_retinanet.data.layouts.tool_layouts import TOOL_SUFFIXES, tool_file, tool_layout
from keras_retinanet.data.layouts.voc_layouts import voc_layout
from keras_retinanet.data.layouts.yolo_layouts import yolo_layout, yolo_settings
from keras_retinanet.errors import ConfigError
from keras_retinanet.system.buckets.incoming import staged

logger = logging.getLogger(__name__)

# In a folder: ours if it has `format`, else YOLO's.
DATA_YAML = "data.yaml"


def detect_format(path: Path) -> tuple[Settings, Path]:
    """Return the settings of a data set, and the folder that their paths are relative to.

    Args:
        path: a data YAML, or one of YOLO; a folder; or an annotation file.

    Raises:
        ConfigError: nothing known is there, or more than one thing.
    """
    if path.is_dir():
        return _folder_settings(path)
    suffix = path.suffix.lower()
    if suffix not in (".yaml", ".yml"):  # what it belongs to is told by what is around it
        staged(base_of(path))
    if suffix in TOOL_SUFFIXES and path.is_file():
        settings = tool_file(path)
        if settings is not None:
            return settings, path.parent
    if suffix == ".csv" and path.is_file():
        return csv_file(path), path.parent
    refuse_file(path)
    if suffix == ".json" and path.is_file():
        return json_settings(path), path.parent
    values = read_yaml(path)
    return (yolo_settings(path.name, values) or values), path.parent


def _folder_settings(folder: Path) -> tuple[Settings, Path]:
    own = _own_yaml(folder)
    if own is not None:
        return own, folder
    found = {name: settings for name, look in DETECTORS.items() if (settings := look(folder))}
    if set(found) == {"coco", "labelling tool"}:
        # A tool's exports of the same images in both: its own knows more.
        logger.warning(
            "%s: COCO's files are passed over, %s is read", folder, found["labelling tool"]
        )
        del found["coco"]
    if len(found) == 1:
        return next(iter(found.values())), folder
    if found:
        raise ConfigError(
            f"{folder} looks like {' and '.join(found)}: name one of the files, or write the "
            f"data.yaml of the one that is meant, such as {as_yaml(next(iter(found.values())))}"
        )
    inside = [
        sub
        for sub in sorted(p for p in folder.iterdir() if p.is_dir())
        if _own_yaml(sub) is not None or any(look(sub) for look in DETECTORS.values())
    ]
    if inside:
        like = "looks like one" if len(inside) == 1 else "look like some"
        names = ", ".join(map(str, inside[:5])) + (", ..." if len(inside) > 5 else "")
        raise ConfigError(f"{folder} is no data set, but {names} {like}: name the one to use")
    refuse_folder(folder)


def _own_yaml(folder: Path) -> Settings | None:
    path = folder / DATA_YAML
    values = read_yaml(path) if path.is_file() else {}
    return values if "format" in values else None


DETECTORS: dict[str, Callable[[Path], Settings | None]] = {
    "coco": coco_layout,
    "voc": voc_layout,
    "csv": csv_layout,
    "kitti": kitti_layout,
    "open_images": open_images_layout,
    "yolo": yolo_layout,
    "tfrecord": tfrecord_layout,
    "labelling tool": tool_layout,
}
