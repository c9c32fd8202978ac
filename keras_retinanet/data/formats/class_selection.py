"""Which classes of a data set are used: picked, renamed, merged and left out, in every format."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from keras_retinanet.config.yaml_files import did_you_mean
from keras_retinanet.data.dataset import ANY_CLASS, Finding
from keras_retinanet.data.raw_annotations import RawAnnotations
from keras_retinanet.errors import DataError

# What a class is made of, by its name: {car: [car, van, truck]}; None: of the class of its name.
Merged = Mapping[str, str | Sequence[str] | None]

LEFT_OUT = "left out"


def select_classes(
    raw: RawAnnotations,
    classes: Merged | Sequence[str] | None,
    excluded: Sequence[str] = (),
) -> RawAnnotations:
    """Return the annotations of some of the classes; what is left out is counted in one finding.

    A class keeps the category id of the data set; a merged one has that of the first of its parts.
    Regions for every class stay.

    Args:
        classes: names, in the order of the labels; or the classes by what they are made of; None:
            all.
        excluded: names to leave out.

    Raises:
        DataError: the data set has no class of one of the names, or one is in two groups.
    """
    if classes is None and not excluded:
        return raw
    known = list(raw.class_names)
    groups = _groups(known if classes is None else classes)
    for name in [*excluded, *(part for parts in groups.values() for part in parts)]:
        if name not in known:
            setting = "exclude_classes" if name in excluded else "classes"
            raise DataError(
                f"{raw.source}: {setting}: there is no class {name!r}: {did_you_mean(name, known)}"
            )
    groups = {
        name: kept
        for name, parts in groups.items()
        if (kept := [p for p in parts if p not in excluded])
    }
    part_counts = Counter(part for parts in groups.values() for part in parts)
    twice = [part for part, count in part_counts.items() if count > 1]
    if twice:
        raise DataError(f"{raw.source}: classes: {twice[0]!r} is in more than one class")
    label_of = {part: label for label, parts in enumerate(groups.values()) for part in parts}
    # The last is for regions of any class.
    mapping = np.array([label_of.get(name, len(groups)) for name in known] + [ANY_CLASS], np.int32)
    labels = mapping[raw.labels]
    rows = np.flatnonzero(labels < len(groups))
    category_of = dict(zip(known, raw.category_ids, strict=True))
    describe_box = raw.describe_box
    return replace(
        raw,
        box_images=raw.box_images[rows],
        boxes=raw.boxes[rows],
        labels=labels[rows],
        is_ignored=raw.is_ignored[rows],
        areas=raw.areas[rows],
        class_names=tuple(groups),
        category_ids=tuple(category_of[parts[0]] for parts in groups.values()),
        describe_box=lambda t: describe_box(int(rows[t])),
        findings=[*raw.findings, *_left_out(raw, labels == len(groups))],
    )


def _groups(classes: Merged | Sequence[str]) -> dict[str, list[str]]:
    """Return what each class is made of."""
    if not isinstance(classes, Mapping):
        return {name: [name] for name in classes}
    groups: dict[str, list[str]] = {}
    for name, parts in classes.items():
        if parts is None or isinstance(parts, str):
            groups[name] = [name if parts is None else parts]
        else:
            groups[name] = list(parts) or [name]
    return groups


def _left_out(raw: RawAnnotations, is_left_out: np.ndarray) -> list[Finding]:
    """Return one finding of how many objects of each class are left out."""
    counts = np.bincount(raw.labels[is_left_out], minlength=len(raw.class_names))
    told = [f"{raw.class_names[i]} {counts[i]}" for i in np.flatnonzero(counts)]
    problem = "objects of classes that `classes` or `exclude_classes` leaves out"
    return [Finding(problem, f"{raw.source}: {', '.join(told)}", LEFT_OUT)] if told else []
