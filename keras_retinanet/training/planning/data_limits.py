"""What a data set cannot give, said before the time is spent."""

from collections.abc import Sequence

import numpy as np

from keras_retinanet.data.checks.duplicates import (
    LEAKAGE,
    find_duplicates,
    find_lookalikes,
)
from keras_retinanet.data.checks.label_checks import count_objects
from keras_retinanet.data.checks.split_images import SplitImages
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.images.scan import scan_images
from keras_retinanet.training.planning.input_size import SPOT

# Below so many examples a class is learnt badly, if at all.
FEW_OBJECTS = 20
# Below so many images, AP on val says little.
FEW_VAL_IMAGES = 20
# More images than these are not compared with one another.
MOST_COMPARED = 4000
_MOST_NAMED = 5


def limits_of_data(train: DetectionDataset, val: DetectionDataset | None) -> list[str]:
    """Return what to know before a training: one sentence for each limit, with what to do."""
    counts = dict.fromkeys(train.class_names, 0) | count_objects(train)
    limits = []
    rare = {name: n for name, n in counts.items() if n < FEW_OBJECTS}
    if rare:
        named = _named([f"{name} ({n})" for name, n in sorted(rare.items(), key=lambda kv: kv[1])])
        limits.append(
            f"{len(rare)} of {len(counts)} classes have fewer than {FEW_OBJECTS} objects in train: "
            f"{named}: they will hardly be found; label more of them"
        )
    if val is None:
        return [*limits, "there is no split val: AP cannot be measured, and the last model is kept"]
    return limits + _limits_of_val(train, val)


def _limits_of_val(train: DetectionDataset, val: DetectionDataset) -> list[str]:
    limits = []
    if len(val) < FEW_VAL_IMAGES:
        limits.append(f"val has {len(val)} images: AP on so few says little")
    missing = sorted(count_objects(train).keys() - count_objects(val).keys())
    if missing:
        limits.append(f"val has no object of {_named(missing)}: their AP is not known")
    shared = _shared_images(train, val)
    if shared:
        limits.append(
            f"{shared} images of val are in train as well, or look like one there: AP is too high "
            "by that; retinanet data check names them"
        )
    return limits


def limits_of_size(sides: np.ndarray) -> list[str]:
    """Return what the size of the network's input does to objects.

    Args:
        sides: of the objects in pixels of the network's input, as the root of the area.
    """
    spots = int((sides < SPOT).sum())
    if not spots:
        return []
    return [
        f"{spots:,} of {len(sides):,} objects are under {SPOT:g} px in the network's input: they "
        "will hardly be found; raise image.size, cut tiles (image.tile), or take more minutes"
    ]


def _shared_images(train: DetectionDataset, val: DetectionDataset) -> int:
    """Return how many images of val are in train, or look like one there."""
    if len(train) + len(val) > MOST_COMPARED:
        return len(set(train.image_paths) & set(val.image_paths))
    images = [_scanned("train", train), _scanned("val", val)]
    found = [f for f in find_duplicates(images) if f.problem == LEAKAGE]
    return len({f.where for f in (*found, *find_lookalikes(images))})


def _scanned(split: str, dataset: DetectionDataset) -> SplitImages:
    paths = dataset.image_paths
    return SplitImages(split, paths, scan_images(paths, with_looks=True))


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
